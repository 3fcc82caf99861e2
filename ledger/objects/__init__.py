"""Object stores: where static files are served from. One file an implementation, found through the registry."""
