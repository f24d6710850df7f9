"""The command `keras_retinanet`, and `python -m keras_retinanet`."""

import sys


def main() -> None:
    """Run the command line; Ctrl-C while it is loading ends it in one line as well."""
    try:
        from keras_retinanet import cli
    except KeyboardInterrupt:
        print("keras_retinanet: interrupted", file=sys.stderr)
        sys.exit(130)  # as `cli.main` does
    cli.main()


if __name__ == "__main__":
    main()
