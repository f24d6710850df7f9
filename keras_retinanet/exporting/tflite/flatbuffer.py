"""TensorFlow Lite's flatbuffer as Python objects: joining two graphs, naming, writing.

Fields and their order: tensorflow/lite/schema/schema.fbs; these classes are generated from it.
"""

import flatbuffers
import numpy as np
from tensorflow.lite.python import schema_py_generated as schema

FILE_IDENTIFIER = b"TFL3"
SIGNATURE = "serving_default"
# Of every buffer, as schema.fbs demands (`force_align: 16`): kernels read them in place.
ALIGNMENT = 16
# -1 among an operator's inputs: that optional one is not given.
NOT_GIVEN = -1


class _AlignedBuffer(schema.BufferT):
    """A buffer written where the schema wants it; the generated writer aligns to one byte."""

    def Pack(self, builder):
        vector = None
        if self.data is not None and len(self.data):
            vector = _aligned_vector(builder, bytes(self.data))
        schema.BufferStart(builder)
        if vector is not None:
            schema.BufferAddData(builder, vector)
        return schema.BufferEnd(builder)


def _aligned_vector(builder, data: bytes):
    builder.StartVector(1, len(data), ALIGNMENT)
    start = builder.head - len(data)
    builder.Bytes[start : builder.head] = data
    builder.head = start
    return builder.EndVector()


def read(data: bytes) -> schema.ModelT:
    """Return the model in the flatbuffer `data`."""
    return schema.ModelT.InitFromPackedBuf(data)


def write(model: schema.ModelT) -> bytes:
    """Return the flatbuffer of `model`; `read` is its inverse."""
    model.buffers = [_AlignedBuffer(buffer.data) for buffer in model.buffers]
    builder = flatbuffers.Builder(1 << 20)
    builder.Finish(model.Pack(builder), file_identifier=FILE_IDENTIFIER)
    return bytes(builder.Output())


def operators(data: bytes) -> list[str]:
    """Return the name of every operator of a TensorFlow Lite file, all subgraphs, in order.

    Those outside TensorFlow Lite are "CUSTOM " or "FLEX " and their name.
    """
    model = read(data)
    names = {number: name for name, number in vars(schema.BuiltinOperator).items()}

    def name_of(code):
        if not code.customCode:
            return names[max(code.builtinCode, code.deprecatedBuiltinCode)]
        custom = code.customCode.decode()
        return f"{'FLEX' if custom.startswith('Flex') else 'CUSTOM'} {custom}"

    codes = [name_of(code) for code in model.operatorCodes]
    return [codes[op.opcodeIndex] for graph in model.subgraphs for op in graph.operators]


def signature_tensors(model: schema.ModelT) -> tuple[dict[str, int], dict[str, int]]:
    """Return name -> index in the first subgraph of the signature's inputs and outputs."""
    signature = model.signatureDefs[0]
    inputs, outputs = (
        {entry.name.decode(): entry.tensorIndex for entry in entries}
        for entries in (signature.inputs, signature.outputs)
    )
    return inputs, outputs


def join(network: schema.ModelT, tail: schema.ModelT) -> None:
    """Put the graph of `tail` behind that of `network`, in place.

    Each input of `tail` is the output of `network` of that name in their signatures. The outputs
    are those of `tail` then; `name_ends` names them.
    """
    graph, behind = network.subgraphs[0], tail.subgraphs[0]
    _, given = signature_tensors(network)
    wanted, _ = signature_tensors(tail)
    places = {index: given[name] for name, index in wanted.items()} | {NOT_GIVEN: NOT_GIVEN}
    for index, tensor in enumerate(behind.tensors):
        if index not in places:
            places[index] = len(graph.tensors)
            if tensor.buffer:  # 0 stands for none
                network.buffers.append(tail.buffers[tensor.buffer])
                tensor.buffer = len(network.buffers) - 1
            graph.tensors.append(tensor)
    first_code = len(network.operatorCodes)
    network.operatorCodes += tail.operatorCodes

    def moved(indices):
        return None if indices is None else np.array([places[int(i)] for i in indices], np.int32)

    for operator in behind.operators:
        operator.opcodeIndex += first_code
        operator.inputs, operator.outputs = moved(operator.inputs), moved(operator.outputs)
        operator.intermediates = moved(operator.intermediates)
        # Says where in the source an operator came from, by a table that stays behind.
        operator.debugMetadataIndex = -1
    graph.operators += behind.operators
    signature, other = network.signatureDefs[0], tail.signatureDefs[0]
    signature.outputs = other.outputs
    for entry in signature.outputs:
        entry.tensorIndex = places[entry.tensorIndex]


def add_constant(model: schema.ModelT, name: str, values: np.ndarray) -> None:
    """Add a float32 output that is always `values`."""
    model.buffers.append(schema.BufferT(np.frombuffer(values.astype("<f4").tobytes(), np.uint8)))
    graph = model.subgraphs[0]
    graph.tensors.append(
        schema.TensorT(
            shape=np.array(values.shape, np.int32),
            type=schema.TensorType.FLOAT32,
            buffer=len(model.buffers) - 1,
            name=name,
        )
    )
    entry = schema.TensorMapT(name=name.encode(), tensorIndex=len(graph.tensors) - 1)
    model.signatureDefs[0].outputs.append(entry)


def name_ends(model: schema.ModelT, source: str, targets: list[str]) -> None:
    """Call the one input `source`, and put the outputs in the order `targets` of their names."""
    graph, signature = model.subgraphs[0], model.signatureDefs[0]
    _, outputs = signature_tensors(model)
    index = signature.inputs[0].tensorIndex
    signature.inputs = [schema.TensorMapT(name=source, tensorIndex=index)]
    signature.outputs = [
        schema.TensorMapT(name=name, tensorIndex=outputs[name]) for name in targets
    ]
    signature.signatureKey = SIGNATURE
    graph.inputs = np.array([index], np.int32)
    graph.outputs = np.array([outputs[name] for name in targets], np.int32)
    for entry in signature.inputs + signature.outputs:
        graph.tensors[entry.tensorIndex].name = entry.name


def add_metadata(model: schema.ModelT, name: str, data: bytes) -> None:
    """Attach `data` under `name`."""
    model.buffers.append(schema.BufferT(np.frombuffer(data, np.uint8)))
    model.metadata.append(schema.MetadataT(name=name, buffer=len(model.buffers) - 1))
