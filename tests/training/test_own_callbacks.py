"""A user's callbacks: epochs that end with an evaluation, names of logs, resumed runs."""

import keras
import pytest
import tiny_command

from keras_retinanet.config.files import load_config
from keras_retinanet.errors import UserError
from keras_retinanet.modeling.backbones import BACKBONES
from keras_retinanet.training import train
from keras_retinanet.training.own_callbacks import load_callback


class Diary(keras.callbacks.Callback):
    """Write down what is called."""

    def __init__(self):
        super().__init__()
        self.calls = []

    def on_train_begin(self, logs=None):
        assert self.model is not None

    def on_epoch_begin(self, epoch, logs=None):
        self.calls.append(("begin", epoch))

    def on_epoch_end(self, epoch, logs=None):
        self.calls.append(("end", epoch, logs))

    def on_train_batch_end(self, batch, logs=None):
        self.calls.append(batch)


class StopAt(keras.callbacks.Callback):
    """Stop the training as a user's callback does."""

    def __init__(self, step):
        super().__init__()
        self.step = step

    def on_train_batch_end(self, batch, logs=None):
        if batch + 1 == self.step:
            self.model.stop_training = True


@pytest.fixture
def config(monkeypatch):
    monkeypatch.setitem(BACKBONES, tiny_command.TINY, tiny_command.tiny)
    return load_config("shapes", tiny_command.SETTINGS)


@pytest.mark.long
def test_an_epoch_ends_with_each_evaluation_and_carries_its_metrics(config, tmp_path):
    diary = Diary()
    train(config, tmp_path / "run", callbacks=[diary])

    assert [call if isinstance(call, int) else call[:2] for call in diary.calls] == [
        *[("begin", 0), 0, 1, 2, 3, ("end", 0)],
        *[("begin", 1), 4, 5, 6, 7, ("end", 1)],
        *[("begin", 2), 8, 9, 10, 11, ("end", 2)],
    ]
    logs = diary.calls[-1][2]
    assert {"loss", "class_loss", "box_loss", "learning_rate", "val_AP", "val_AP50"} <= set(logs)
    rows = (tmp_path / "run" / "metrics.csv").read_text().splitlines()
    header, last = rows[0].split(","), rows[-1].split(",")
    assert logs["val_AP"] == float(last[header.index("AP")])


@pytest.mark.long
def test_a_callback_stops_a_run_and_a_resumed_run_counts_on(config, tmp_path):
    train(config, tmp_path / "run", callbacks=[StopAt(6)])
    diary = Diary()
    train(config, tmp_path / "run", callbacks=[diary], resume=True)

    assert [call if isinstance(call, int) else call[:2] for call in diary.calls] == [
        *[("begin", 1), 6, 7, ("end", 1)],
        *[("begin", 2), 8, 9, 10, 11, ("end", 2)],
    ]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("nothing", "module:Class"),
        ("no_such_module_here:X", "Python can import"),
        ("json:NoSuchName", "Python can import"),
        ("collections:OrderedDict", "gives a OrderedDict"),
    ],
)
def test_a_name_that_gives_no_callback_is_an_error(name, message):
    with pytest.raises(UserError, match=message):
        load_callback(name)


def test_a_module_of_the_working_folder_is_found(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend("")  # restores sys.path afterwards
    (tmp_path / "own_diary.py").write_text(
        "import keras\n\n\nclass Diary(keras.callbacks.Callback):\n    mark = 7\n"
    )
    assert load_callback("own_diary:Diary").mark == 7
