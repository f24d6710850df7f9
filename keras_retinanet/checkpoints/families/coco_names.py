"""COCO's classes: the 80 in use, and the 91 outputs that torchvision and others give."""

# Ids 1..90 that COCO 2017 annotates no object with.
UNUSED_IDS = (12, 26, 29, 30, 45, 66, 68, 69, 71, 83)
COCO80_NAMES: list[str] = (
    "person|bicycle|car|motorcycle|airplane|bus|train|truck|boat|traffic light|fire hydrant|"
    "stop sign|parking meter|bench|bird|cat|dog|horse|sheep|cow|elephant|bear|zebra|giraffe|"
    "backpack|umbrella|handbag|tie|suitcase|frisbee|skis|snowboard|sports ball|kite|"
    "baseball bat|baseball glove|skateboard|surfboard|tennis racket|bottle|wine glass|cup|fork|"
    "knife|spoon|bowl|banana|apple|sandwich|orange|broccoli|carrot|hot dog|pizza|donut|cake|"
    "chair|couch|potted plant|bed|dining table|toilet|tv|laptop|mouse|remote|keyboard|"
    "cell phone|microwave|oven|toaster|sink|refrigerator|book|clock|vase|scissors|teddy bear|"
    "hair drier|toothbrush"
).split("|")
COCO80_IDS: list[int] = [i for i in range(1, 91) if i not in UNUSED_IDS]
BACKGROUND = "__background__"


_USED = dict(zip(COCO80_IDS, COCO80_NAMES, strict=True))
# Output i stands for COCO's id i: 0 is background, and the unused ids have names of their own.
COCO91_NAMES: list[str] = [BACKGROUND, *(_USED.get(i, f"N/A_{i}") for i in range(1, 91))]
COCO91_IDS: list[int] = list(range(91))


def coco_classes(count: int) -> tuple[list[str], list[int]]:
    """Return names and ids for `count` outputs: COCO's for 80, 90 and 91, else plain ones.

    80 are COCO's classes in order; 90 are its ids 1..90; 91 are those with background first. Any
    other count gives "class_0", ... with ids 1..count.
    """
    if count == len(COCO80_NAMES):
        return list(COCO80_NAMES), list(COCO80_IDS)
    if count == len(COCO91_NAMES):
        return list(COCO91_NAMES), list(COCO91_IDS)
    if count == len(COCO91_NAMES) - 1:
        return COCO91_NAMES[1:], COCO91_IDS[1:]
    return [f"class_{i}" for i in range(count)], list(range(1, count + 1))
