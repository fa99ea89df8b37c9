"""How fast Parlour is: each figure beside its target, from programs that print what they count."""
