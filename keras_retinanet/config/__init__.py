"""The configuration: frozen dataclasses with the paper's values, read from and written as YAML."""

from keras_retinanet.config.data import AugmentConfig, DataConfig
from keras_retinanet.config.files import (
    config_from_dict,
    config_names,
    config_to_dict,
    dotted_keys,
    load_config,
    option_help,
    save_config,
    with_overrides,
)
from keras_retinanet.config.model import (
    AnchorConfig,
    BackboneConfig,
    BoxCoderConfig,
    DetectionConfig,
    FPNConfig,
    HeadConfig,
    ModelConfig,
    PreprocessingConfig,
    TilesConfig,
)
from keras_retinanet.config.schema import (
    Config,
    EvaluateConfig,
    LossConfig,
    MatchConfig,
    OptimizerConfig,
    PredictConfig,
    ScheduleConfig,
    TrainConfig,
)

__all__ = [
    "AnchorConfig",
    "AugmentConfig",
    "BackboneConfig",
    "BoxCoderConfig",
    "Config",
    "DataConfig",
    "DetectionConfig",
    "EvaluateConfig",
    "FPNConfig",
    "HeadConfig",
    "LossConfig",
    "MatchConfig",
    "ModelConfig",
    "OptimizerConfig",
    "PredictConfig",
    "PreprocessingConfig",
    "ScheduleConfig",
    "TilesConfig",
    "TrainConfig",
    "config_from_dict",
    "config_names",
    "config_to_dict",
    "dotted_keys",
    "load_config",
    "option_help",
    "save_config",
    "with_overrides",
]
