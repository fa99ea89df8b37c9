"""Session descriptions: offers read, answers and offers written. Pure: text in, plain data out, and back."""
