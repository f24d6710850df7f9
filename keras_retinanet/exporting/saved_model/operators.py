"""The operators that exports of ours can hold; `tests/exporting/test_trust.py` holds exports
against them.

None reads or writes a file, opens a connection, prints or calls Python. Collected from the
signatures of all backbones and options, then widened by operators of the same kinds (arithmetic,
shapes, images, lists of tensors), which another version of TensorFlow may choose instead.
"""

OPERATORS = frozenset(
    """
    Abs Add AddN AddV2 All Any ArgMax ArgMin Assert AssignVariableOp AvgPool
    BatchMatMul BatchMatMulV2 BiasAdd Bitcast BitwiseAnd BitwiseOr BitwiseXor BroadcastArgs
    BroadcastTo
    Case Cast Ceil CheckNumerics ClipByValue CombinedNonMaxSuppression Concat ConcatV2 Const Conv2D
    Cos CropAndResize Cumprod Cumsum
    DecodeAndCropJpeg DecodeBmp DecodeGif DecodeImage DecodeJpeg DecodePng DecodeRaw DecodeWebP
    DepthToSpace DepthwiseConv2dNative DisableCopyOnRead DynamicPartition DynamicStitch
    Einsum Elu Empty EmptyTensorList EnsureShape Equal Erf Exp ExpandDims Expm1 ExtractJpegShape
    Fill Floor FloorDiv FloorMod FusedBatchNorm FusedBatchNormV2 FusedBatchNormV3
    Gather GatherNd GatherV2 Greater GreaterEqual
    Identity IdentityN If IgnoreErrorsDataset Invert InvertPermutation IsFinite IsInf IsNan
    L2Loss LeakyRelu LeftShift Less LessEqual LinSpace Log Log1p LogSoftmax LogicalAnd LogicalNot
    LogicalOr LowerBound
    MapDataset MatMul MatrixBandPart MatrixDiag MatrixDiagV2 MatrixDiagV3 Max MaxPool MaxPoolV2
    Maximum Mean Min Minimum MirrorPad Mod Mul MulNoNan
    Neg NoOp NonMaxSuppression NonMaxSuppressionV2 NonMaxSuppressionV3 NonMaxSuppressionV4
    NonMaxSuppressionV5 NotEqual
    OneHot OnesLike OptionsDataset
    Pack Pad PadV2 ParallelMapDatasetV2 ParseExample ParseExampleV2 PartitionedCall Placeholder
    PlaceholderWithDefault Pow PreventGradient Prod
    Range Rank ReadVariableOp RealDiv Reciprocal ReduceDataset Relu Relu6 Reshape ResizeArea
    ResizeBicubic ResizeBilinear ResizeNearestNeighbor ResourceGather ReverseSequence ReverseV2
    RightShift Rint Roll Round Rsqrt
    ScaleAndTranslate ScatterNd Select SelectV2 Selu Shape ShapeN Sigmoid Sign Sin Size Slice
    Snapshot Softmax Softplus Softsign SpaceToBatchND SpaceToDepth Split SplitV Sqrt Square
    SquaredDifference Squeeze StatefulPartitionedCall StatelessCase StatelessIf StatelessWhile
    StaticRegexFullMatch StopGradient StridedSlice StringJoin StringLength Sub Substr Sum
    Tanh TensorDataset TensorListConcatV2 TensorListFromTensor TensorListGather TensorListGetItem
    TensorListLength TensorListPopBack TensorListPushBack TensorListReserve TensorListResize
    TensorListSetItem TensorListSplit TensorListStack TensorScatterAdd TensorScatterMax
    TensorScatterMin TensorScatterSub TensorScatterUpdate Tile TopK TopKV2 Transpose TruncateDiv
    TruncateMod
    Unique UniqueV2 UniqueWithCounts Unpack UnravelIndex UpperBound VarHandleOp VarIsInitializedOp
    Where While Xdivy ZerosLike
    """.split()
)
# With which TensorFlow saves and restores a model's variables. They write and delete files: only
# functions that nothing loaded can call have them.
SAVER_OPERATORS = frozenset("MergeV2Checkpoints RestoreV2 SaveV2 ShardedFilename".split())
