"""fairseq checkpoints with the weights of small random models of transformers, in fairseq's names and forms."""

import argparse
import re

import torch
import transformers as tf

CONVOLUTIONS = "[(8, 10, 5)] + [(8, 3, 2)] * 4 + [(12,2,2)] * 2"
SIZES = {
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 24,
    "conv_dim": (8, 8, 8, 8, 8, 12, 12),
    "num_conv_pos_embedding_groups": 4,
}
LAYER = {"feat_extract_norm": "layer", "conv_bias": True, "do_stable_layer_norm": True}

KINDS = {
    "wav2vec2": ("Wav2Vec2", {"num_conv_pos_embeddings": 8}),
    "wav2vec2-layer": ("Wav2Vec2", {"num_conv_pos_embeddings": 7, **LAYER}),
    "hubert": ("Hubert", {"num_conv_pos_embeddings": 8}),
    "hubert-layer": ("Hubert", {"num_conv_pos_embeddings": 8, "hidden_act": "relu", **LAYER}),
    "data2vec_audio": ("Data2VecAudio", {"num_conv_pos_embeddings": 3, "conv_pos_kernel_size": 5}),
}
"""fairseq's name of a model, and a variant → transformers' name and its settings."""

NAMES = {
    r"feature_projection\.layer_norm": "layer_norm",
    r"feature_projection\.projection": "post_extract_proj",
    r"masked_spec_embed": "mask_emb",
    r"feature_extractor\.conv_layers\.(\d+)\.conv": r"feature_extractor.conv_layers.\1.0",
    r"encoder\.pos_conv_embed\.conv\.parametrizations\.weight\.original0": "encoder.pos_conv.0.weight_g",
    r"encoder\.pos_conv_embed\.conv\.parametrizations\.weight\.original1": "encoder.pos_conv.0.weight_v",
    r"encoder\.pos_conv_embed\.conv": "encoder.pos_conv.0",
    r"encoder\.pos_conv_embed\.layers\.(\d+)\.conv": r"encoder.pos_conv.\1.0",
    r"encoder\.layers\.(\d+)\.attention": r"encoder.layers.\1.self_attn",
    r"encoder\.layers\.(\d+)\.layer_norm": r"encoder.layers.\1.self_attn_layer_norm",
    r"encoder\.layers\.(\d+)\.feed_forward\.intermediate_dense": r"encoder.layers.\1.fc1",
    r"encoder\.layers\.(\d+)\.feed_forward\.output_dense": r"encoder.layers.\1.fc2",
}
"""Pattern of a name in transformers → the name in fairseq; other names are equal."""


def build(kind, **changed):
    """Return a random model of transformers in which every weight matters."""
    family, settings = KINDS[kind]
    torch.manual_seed(0)
    model = getattr(tf, f"{family}Model")(getattr(tf, f"{family}Config")(**SIZES | settings | changed))
    with torch.no_grad():
        for weight in model.parameters():
            weight.add_(0.15 * torch.randn_like(weight))
    return model.eval()


def state_of(model, prefix=""):
    """Return a model's weights in fairseq's names."""
    layer_norms = getattr(model.config, "feat_extract_norm", "layer") == "layer"
    norm = r"feature_extractor\.conv_layers\.(\d+)\.layer_norm"
    names = NAMES | {norm: r"feature_extractor.conv_layers.\1.2" + (".1" if layer_norms else "")}
    state = {}
    for name, weight in model.state_dict().items():
        stored = name
        for pattern, replacement in names.items():
            stored, count = re.subn(rf"^{pattern}(?=\.|$)", replacement, name)
            if count:
                break
        state[prefix + stored] = weight.clone()
    return state


def fields_of(kind, config):
    """Return the fields of fairseq's configuration for a model."""
    deep = hasattr(config, "conv_pos_kernel_size")
    return {
        "extractor_mode": "layer_norm" if deep or config.feat_extract_norm == "layer" else "default",
        "layer_norm_first": bool(getattr(config, "do_stable_layer_norm", False)),
        "conv_feature_layers": CONVOLUTIONS,
        "conv_bias": config.conv_bias,
        "encoder_layers": config.num_hidden_layers,
        "encoder_embed_dim": config.hidden_size,
        "encoder_ffn_embed_dim": config.intermediate_size,
        "encoder_attention_heads": config.num_attention_heads,
        "activation_fn": config.hidden_act,
        "conv_pos": config.num_conv_pos_embeddings * (config.conv_pos_kernel_size if deep else 1),
        "conv_pos_groups": config.num_conv_pos_embedding_groups,
        "pos_conv_depth": config.num_conv_pos_embeddings if deep else 1,
        "layer_type": "transformer",
        "quantize_input": False,
        "dropout": 0.1,
    }


def content_of(kind, model, *, form="cfg", tuned=None, normalize=False, **changed):
    """Return a checkpoint as fairseq saves it: pre-trained with its heads, or fine-tuned as the model `tuned`."""
    name = kind.partition("-")[0]
    fields = fields_of(kind, model.config) | changed
    prefix = {"ctc": "w2v_encoder.w2v_model.", "seq2seq": "encoder.w2v_model."}.get((tuned or "").partition("_")[2], "")
    state = state_of(model, prefix)
    state |= _heads(tuned or name, model.config.hidden_size)
    if form == "args":
        flat = {"arch": name, "normalize": normalize, **fields}
        inner = argparse.Namespace(**flat)
        args = argparse.Namespace(arch=tuned, normalize=normalize, w2v_args=inner) if tuned else inner
        return {"args": args, "model": state, "extra_state": {"epoch": 1}}
    cfg = {"model": {"_name": name, **fields}, "task": {"_name": "audio_pretraining", "normalize": normalize}}
    if tuned:
        outer = {"_name": tuned, "w2v_path": "pretrained.pt", "normalize": normalize, "w2v_args": cfg}
        cfg = {"model": outer, "task": {"_name": "audio_finetuning", "normalize": normalize}}
    moments = {
        index: {"step": 1, "exp_avg": weight.clone()} for index, weight in enumerate(state.values()) if index < 5
    }
    return {"args": None, "cfg": cfg, "model": state, "last_optimizer_state": {"state": moments}}


def _heads(name, width):
    """Return the tensors of a model that belong to no encoder."""
    tensors = {
        "wav2vec2": ("quantizer.vars", "quantizer.weight_proj.weight", "project_q.weight", "final_proj.weight"),
        "hubert": ("label_embs_concat", "final_proj.weight", "final_proj.bias"),
        "data2vec_audio": ("final_proj.weight", "final_proj.bias"),
        "wav2vec_ctc": ("w2v_encoder.proj.weight", "w2v_encoder.proj.bias"),
        "hubert_ctc": ("w2v_encoder.proj.weight", "w2v_encoder.proj.bias"),
        "wav2vec_seq2seq": ("encoder.proj.weight", "decoder.embed_tokens.weight"),
    }[name]
    return {tensor: torch.ones(3, width) for tensor in tensors}


def save(path, content, *, zipped=True):
    """Save a checkpoint in torch's format, or in that before 1.6; return the path as a string."""
    torch.save(content, path, _use_new_zipfile_serialization=zipped)
    return str(path)
