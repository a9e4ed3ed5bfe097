"""``python -m mlma``: the command line."""

from mlma.cli import main

if __name__ == "__main__":
    main()
