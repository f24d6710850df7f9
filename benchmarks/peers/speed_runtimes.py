"""Time onnxruntime and OpenVINO on torchvision's network alone, from its ONNX file."""

import numpy as np
from turns import arguments, image, serve

ONNX = "torchvision.onnx"


def main() -> None:
    jobs = ["onnxruntime", "openvino", "openvino_bfloat16"]
    args = arguments(__doc__.splitlines()[0], jobs).parse_args()
    pixels = (image(args.size).transpose(2, 0, 1)[None] / 255 - 0.45) / 0.225
    batch = pixels.astype(np.float32)
    path = str(args.files / ONNX)
    if args.job == "onnxruntime":
        import onnxruntime

        session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
        version = f"onnxruntime {onnxruntime.__version__}"
        serve(lambda: session.run(None, {"images": batch}), version=version)
        return
    import openvino

    precision = "bf16" if args.job == "openvino_bfloat16" else "f32"
    options = {"INFERENCE_PRECISION_HINT": precision, "PERFORMANCE_HINT": "LATENCY"}
    network = openvino.Core().compile_model(path, "CPU", options)
    serve(lambda: network([batch]), version=f"OpenVINO {openvino.__version__}")


if __name__ == "__main__":
    main()
