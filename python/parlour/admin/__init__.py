"""The account REST: what back ends ask of the account system over HTTP."""

from parlour.admin.commands import RATES
from parlour.admin.plugins import Call, Plugin, Proceed
from parlour.admin.routes import create_admin_routes
from parlour.admin.settings import AdminSettings
from parlour.admin.wire import Answer

__all__ = ["RATES", "AdminSettings", "Answer", "Call", "Plugin", "Proceed", "create_admin_routes"]
