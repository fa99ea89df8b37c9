"""What Alembic runs: the migrations on the connection that the store passes in, in its transaction."""

from alembic import context

from parlour.storage.schema import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    render_as_batch=True,
)
context.run_migrations()
