"""Run a SavedModel where neither keras nor keras_retinanet can be imported.

python exporting_process.py FOLDER REQUESTS ANSWERS: REQUESTS is a pickled list of (signature, or
"." and a function of the loaded object, {input: array or list of bytes}); ANSWERS gets, for each,
{output: array} or the error's message, and what the loaded object says of itself.
"""

import pickle
import sys
from importlib import import_module
from pathlib import Path


class Without:
    """A finder of modules that does not find these packages."""

    packages = ("keras", "keras_retinanet")

    def __init__(self, finder):
        self._finder = finder

    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in self.packages:
            return None
        return self._finder.find_spec(name, path, target)

    def __getattr__(self, name):
        return getattr(self._finder, name)


def answer(tensorflow, function, inputs):
    tensors = {name: tensorflow.constant(value) for name, value in inputs.items()}
    try:
        return {name: value.numpy() for name, value in function(**tensors).items()}
    except tensorflow.errors.OpError as error:
        return str(error)


def main(folder, requests, answers):
    sys.meta_path[:] = [Without(finder) for finder in sys.meta_path]
    for package in Without.packages:
        try:
            import_module(package)
        except ModuleNotFoundError:
            continue
        raise SystemExit(f"{package} could be imported")
    tensorflow = import_module("tensorflow")
    loaded = tensorflow.saved_model.load(folder)
    found = []
    for name, inputs in pickle.loads(Path(requests).read_bytes()):
        is_attribute = name.startswith(".")
        function = getattr(loaded, name[1:]) if is_attribute else loaded.signatures[name]
        found.append(answer(tensorflow, function, inputs))
    said = {"facts": loaded.facts().numpy(), "class_names": loaded.class_names().numpy().tolist()}
    Path(answers).write_bytes(pickle.dumps((found, said)))


if __name__ == "__main__":
    main(*sys.argv[1:])
