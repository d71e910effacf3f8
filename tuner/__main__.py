"""``python -m tuner`` is ``lime-tuner``."""

from tuner.cli import main

if __name__ == "__main__":
    main()
