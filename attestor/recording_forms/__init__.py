"""The forms in which a recording lies in a file: one module a form. They know bytes, and no rule about content."""
