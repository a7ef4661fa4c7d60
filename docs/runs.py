def take(lines): pass
