"""Checkpoints of CTranslate2, written from the weights of a Whisper of transformers."""

import struct

import numpy as np
import torch

HEADS = 2
TYPE_IDS = {"float32": 0, "int8": 1, "int16": 2, "int32": 3, "float16": 4, "bfloat16": 5}


def linear(state, source):
    return {kind: state[f"{source}.{kind}"] for kind in ("weight", "bias")}


def norm(state, source):
    return {"gamma": state[f"{source}.weight"], "beta": state[f"{source}.bias"]}


def joined(state, source, parts):
    """Projections as one, with zeros for the bias that Whisper's keys do not have."""
    names = [f"{source}.{part}_proj" for part in parts]
    zeros = torch.zeros_like(state[f"{names[-1]}.bias"])
    return {
        "weight": torch.cat([state[f"{name}.weight"] for name in names]),
        "bias": torch.cat([state.get(f"{name}.bias", zeros) for name in names]),
    }


def variables_of(**sides):
    """The tensors of a Whisper's encoder, decoder under CTranslate2's names, after its WhisperSpec."""
    scopes = {}
    for side, module in sides.items():
        state = module.state_dict()
        scopes[f"{side}/position_encodings"] = {"encodings": state["embed_positions.weight"]}
        scopes[f"{side}/layer_norm"] = norm(state, "layer_norm")
        for i in range(len(module.layers)):
            here, there = f"layers.{i}", f"{side}/layer_{i}"
            scopes[f"{there}/self_attention/layer_norm"] = norm(state, f"{here}.self_attn_layer_norm")
            scopes[f"{there}/self_attention/linear_0"] = joined(state, f"{here}.self_attn", "qkv")
            scopes[f"{there}/self_attention/linear_1"] = linear(state, f"{here}.self_attn.out_proj")
            scopes[f"{there}/ffn/layer_norm"] = norm(state, f"{here}.final_layer_norm")
            scopes[f"{there}/ffn/linear_0"] = linear(state, f"{here}.fc1")
            scopes[f"{there}/ffn/linear_1"] = linear(state, f"{here}.fc2")
            if side == "decoder":
                scopes[f"{there}/attention/layer_norm"] = norm(state, f"{here}.encoder_attn_layer_norm")
                scopes[f"{there}/attention/linear_0"] = linear(state, f"{here}.encoder_attn.q_proj")
                scopes[f"{there}/attention/linear_1"] = joined(state, f"{here}.encoder_attn", "kv")
                scopes[f"{there}/attention/linear_2"] = linear(state, f"{here}.encoder_attn.out_proj")
        if side == "encoder":
            scopes |= {"encoder/conv1": linear(state, "conv1"), "encoder/conv2": linear(state, "conv2")}
        else:
            scopes["decoder/embeddings"] = {"weight": state["embed_tokens.weight"]}
    return {f"{scope}/{name}": w.numpy() for scope, weights in scopes.items() for name, w in weights.items()}


def stored(name, values, kind):
    """A weight as (type id, array) entries in a storage type; integers are scaled row by row."""
    if kind == "bfloat16":
        bits = torch.from_numpy(values).to(torch.bfloat16).view(torch.int16).numpy()
        return {name: (TYPE_IDS[kind], bits)}
    if not kind.startswith("int") or not name.endswith("weight"):
        kind = kind if kind.startswith("float") else "float32"
        return {name: (TYPE_IDS[kind], values.astype(kind))}
    largest = {"int8": 127.0, "int16": 2.0**15 - 1}[kind]
    loudest = np.abs(values).reshape(len(values), -1).max(1)
    scale = (largest / np.where(loudest == 0, largest, loudest)).astype(np.float32)
    scaled = np.rint(values * scale.reshape(-1, *[1] * (values.ndim - 1)))
    return {name: (TYPE_IDS[kind], scaled.astype(kind)), f"{name}_scale": (TYPE_IDS["float32"], scale)}


def text(value):
    return struct.pack("<H", len(value) + 1) + value.encode() + b"\0"


def entry(name, type_id, array):
    shape = b"".join(struct.pack("<I", size) for size in array.shape)
    head = text(name) + struct.pack("<B", array.ndim) + shape + struct.pack("<BI", type_id, array.nbytes)
    return head + np.ascontiguousarray(array).tobytes()


def file_of(entries, *, version=6, spec="WhisperSpec", aliases=(("decoder/projection/weight", None),)):
    """A model.bin of entries {name: (type id, array)}."""
    parts = [struct.pack("<I", version), text(spec), struct.pack("<II", 3, len(entries))]
    parts += [entry(name, *stored_as) for name, stored_as in entries.items()]
    parts += [struct.pack("<I", len(aliases))]
    parts += [text(alias) + text(name or "decoder/embeddings/weight") for alias, name in aliases]
    return b"".join(parts)


def entries_of(model, kind="float32"):
    entries = {f"{side}/num_heads": (TYPE_IDS["int16"], np.array(HEADS, np.int16)) for side in ("encoder", "decoder")}
    for name, values in variables_of(encoder=model.encoder, decoder=model.decoder).items():
        entries |= stored(name, values, kind)
    return entries
