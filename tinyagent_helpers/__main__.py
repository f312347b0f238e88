"""`python -m tinyagent_helpers`, also installed as `tinyagent`."""

from tinyagent_helpers.cli import main

if __name__ == "__main__":
    raise SystemExit(main())
