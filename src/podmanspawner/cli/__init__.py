"""The ``podmanspawner`` command: what an administrator asks and does from a shell.

It reads the Hub's own configuration, so that it sees what the Hub sees.
"""
