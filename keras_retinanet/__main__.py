"""`python -m keras_retinanet`."""

from keras_retinanet.cli import main

if __name__ == "__main__":
    main()
