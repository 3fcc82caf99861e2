"""The wire: message definitions, and the modules generated from them."""
