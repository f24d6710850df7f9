"""Time torchvision's RetinaNet: `retinanet_resnet50_fpn` with 91 classes, as its weights come.

"detect" is the model as a user calls it, from an image tensor to detections; "network" the
backbone and heads alone; "train" a step of its reference recipe's SGD with the stem, the first
stage and all batch norms frozen, as with loaded weights; "train_all" one with everything trained;
"write" makes the files that all peers share: backbone weights, and the network as ONNX.
"""

import torch
from torchvision_retinanet import freeze_norms, torchvision
from turns import CLASSES, arguments, image, scale_and_bias, serve, truths

BACKBONE, ONNX = "resnet50.pth", "torchvision.onnx"


class Network(torch.nn.Module):
    """Backbone, pyramid and heads without anchors and post-processing."""

    def __init__(self, model):
        super().__init__()
        self.backbone, self.head = model.backbone, model.head

    def forward(self, images):
        outputs = self.head(list(self.backbone(images).values()))
        return outputs["cls_logits"], outputs["bbox_regression"]


def build(args, *, frozen: bool):
    """Return the detector with the shared backbone, and so many candidates as asked for."""
    torch.manual_seed(0)
    model = torchvision.models.detection.retinanet_resnet50_fpn(
        weights=None,
        weights_backbone=None,
        num_classes=CLASSES,
        min_size=args.size,
        max_size=args.size,
    )
    weights = torch.load(args.files / BACKBONE, weights_only=True)
    model.backbone.body.load_state_dict(weights, strict=False)  # it has no fc
    if frozen:
        freeze_norms(model.backbone.body)
        for name, weight in model.backbone.body.named_parameters():
            weight.requires_grad_(name.startswith(("layer2", "layer3", "layer4")))
    last = model.head.classification_head.cls_logits
    with torch.no_grad():
        last.bias.zero_()
        model.eval()
        scale, bias = scale_and_bias(Network(model)(inputs(args))[0].numpy(), args.candidates)
        last.weight.mul_(scale)
        last.bias.fill_(bias)
    return model


def inputs(args) -> torch.Tensor:
    """Return the normalized batch, as the model's own transform makes it."""
    pixels = torch.from_numpy(image(args.size).transpose(2, 0, 1).copy()).float() / 255
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    one = (pixels - mean[:, None, None]) / std[:, None, None]
    return one[None].repeat(args.batch_size, 1, 1, 1)


def training_step(args, *, frozen: bool):
    """Return a function that takes a step."""
    model = build(args, frozen=frozen).train()
    trained = [weight for weight in model.parameters() if weight.requires_grad]
    optimizer = torch.optim.SGD(trained, lr=1e-4, momentum=0.9, weight_decay=1e-4)
    images = [torch.from_numpy(image(args.size).transpose(2, 0, 1).copy()).float() / 255]
    boxes, classes = (torch.from_numpy(part) for part in truths(args.size, args.batch_size))
    targets = [
        {"boxes": box, "labels": label + 1} for box, label in zip(boxes, classes, strict=True)
    ]

    def step() -> None:
        loss = sum(model(images * args.batch_size, targets).values())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        loss.item()

    return step


def write(args) -> None:
    """Write the files that all peers share."""
    args.files.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(0)
    torch.save(torchvision.models.resnet50(weights=None).state_dict(), args.files / BACKBONE)
    model = build(args, frozen=True).eval()
    names = {"input_names": ["images"], "output_names": ["logits", "deltas"]}
    path = str(args.files / ONNX)
    torch.onnx.export(Network(model).eval(), (inputs(args),), path, dynamo=False, **names)


def main() -> None:
    jobs = ["detect", "network", "train", "train_all", "write"]
    args = arguments(__doc__.splitlines()[0], jobs).parse_args()
    if args.job == "write":
        write(args)
        return
    facts = {"version": f"torchvision {torchvision.__version__}, torch {torch.__version__}"}
    if args.job.startswith("train"):
        serve(training_step(args, frozen=args.job == "train"), **facts)
        return
    model = build(args, frozen=True).eval()
    with torch.inference_mode():
        if args.job == "network":
            network, batch = Network(model).eval(), inputs(args)
            serve(lambda: network(batch), **facts)
            return
        pixels = torch.from_numpy(image(args.size).transpose(2, 0, 1).copy())
        found = model([pixels.float() / 255])[0]
        facts["detections"] = len(found["boxes"])
        serve(lambda: model([pixels.float() / 255] * args.batch_size), **facts)


if __name__ == "__main__":
    main()
