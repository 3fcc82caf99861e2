"""The demo: a pause from its trigger to its lift, with every part its own process on this machine."""
