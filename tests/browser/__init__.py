"""Real browsers, real films and real speech against a real server."""
