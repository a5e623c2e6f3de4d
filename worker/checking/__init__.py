"""What the sandboxed checking process does with an upload. Nothing here knows the database or the network."""
