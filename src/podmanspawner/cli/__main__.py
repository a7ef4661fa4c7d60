"""``python -m podmanspawner.cli``."""

from .app import main

main()
