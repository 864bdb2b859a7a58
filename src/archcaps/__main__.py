"""`python -m archcaps`: the command `archcaps`."""

from archcaps.cli.main import main

if __name__ == "__main__":
    main()
