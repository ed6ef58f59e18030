"""The table of known architectures: the properties that each class fixes and the fields that decide the rest.

The key is the `model_type` of a `config.json`; `classes` are the names in its `architectures`, without
`ForCausalLM` and the like. Every entry was compared with the parameter count of `transformers` for
the same configuration. Other architectures are counted only if they are plainly a Llama (`LLAMA_LIKE`).

References
----------
transformers 5.18, `src/transformers/models/*/configuration_*.py` and `modeling_*.py`; for architectures
that it does not have, the `modeling_*.py` that their publishers give.
"""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

from quant_core.llm.architectures import extras, plans
from quant_core.llm.architectures.building import Architecture
from quant_core.llm.architectures.fields import Fields, brief

_EVERYWHERE = ("attention_bias", False)
# Fields that every published file of such a class has, and that have no safe default.
_GROUPED = ("num_key_value_heads",)
_EXPERTS = ("num_experts", "moe_intermediate_size")
_OF_EXPERTS = (*_EXPERTS, "n_shared_experts", "first_k_dense_replace")
# Files of Llamas with biases of Q, K and V alone are as good: the bias of the output is not listed.
_LLAMA = Architecture(classes=("Llama", "LLaMA"), ffn_bias=("mlp_bias", False))
_GPT2 = Architecture(
    classes=("GPT2",),
    has_experts=False,
    ffn_ratio=4,
    fused_qkv=True,
    gated_ffn=False,
    qkv_bias=True,
    output_bias=True,
    ffn_bias=True,
    norm_bias=True,
    tied=True,
    positions=0,
    defaults={"max_position_embeddings": 1024},
)
_GEMMA2 = Architecture(
    classes=("Gemma2",),
    tied=True,
    output_bias=_EVERYWHERE,
    norms=("attn_norm", "ffn_norm", "post_attention_norm", "post_ffw_norm"),
    sliding_every=2,
    defaults={"head_dim": 256},
)
_GEMMA4 = replace(
    _GEMMA2,
    classes=("Gemma4",),
    plan=plans.gemma4,
    defaults={
        "head_dim": 256,
        "global_head_dim": 512,
        "num_key_value_heads": 4,
        "sliding_window": 512,
        "hidden_size_per_layer_input": 256,
        "vocab_size_per_layer_input": 262_144,
    },
    ignored=("per_layer_config",),
    query_key_norm="head",
    sliding_every=6,
    extras=extras.layer_embeddings,
    heads_of={"full": {"num_key_value_heads": "num_global_key_value_heads", "head_dim": "global_head_dim"}},
)
_QWEN3_NEXT = Architecture(
    classes=("Qwen3Next",),
    output_bias=_EVERYWHERE,
    query_key_norm="head",
    gated_attention=True,
    shared_gate=True,
    linear_every=4,
    ignored=(
        "attn_output_gate",
        "output_gate_type",
        "mtp_num_hidden_layers",
        "mlp_only_layers",
        "use_qk_norm",
    ),
)
_DEEPSEEK_V3 = Architecture(
    classes=("DeepseekV3",), router_bias=True, ignored=("head_dim", "qk_head_dim", "num_key_value_heads")
)
_GLM4 = Architecture(classes=("Glm4", "Glm4v", "GlmOcr"), qkv_bias=("attention_bias", True), joined_ffn=True)
_GRANITE = Architecture(classes=("Granite",), output_bias=_EVERYWHERE, ffn_bias=("mlp_bias", False))
_BERT = Architecture(
    classes=("Bert",),
    has_experts=False,
    encoder=True,
    pooler=True,
    tied=True,
    gated_ffn=False,
    qkv_bias=True,
    output_bias=True,
    ffn_bias=True,
    norm_bias=True,
    norms=("attn_output_norm", "layer_output_norm"),
    final_norm=False,
    positions=0,
    extras=extras.encoder_embeddings,
    defaults={"max_position_embeddings": 512, "type_vocab_size": 2},
)
_MAMBA = Architecture(
    classes=("Mamba",),
    plan=plans.mamba_model,
    norms=("attn_norm",),
    tied=True,
    has_experts=False,
    ignored=("d_inner", "ssm_cfg"),
)

ARCHITECTURES: dict[str, Architecture] = {
    "llama": _LLAMA,
    "mistral": Architecture(classes=("Mistral",)),
    "ministral": Architecture(classes=("Ministral",)),
    "ministral3": Architecture(classes=("Ministral3", "Mistral3")),
    "mixtral": Architecture(classes=("Mixtral",)),
    "qwen2": Architecture(
        classes=("Qwen2", "Qwen2VL", "Qwen2_5_VL", "Qwen2ForProcessReward"),
        required=_GROUPED,
        qkv_bias=("attention_bias", True),
    ),
    "qwen2_moe": Architecture(
        classes=("Qwen2Moe",), qkv_bias=("qkv_bias", True), shared_gate=True, ignored=("attention_bias",)
    ),
    "qwen3": Architecture(
        classes=("Qwen3", "Qwen3VL"),
        required=_GROUPED,
        query_key_norm="head",
        defaults={"head_dim": 128},
    ),
    "qwen3_moe": Architecture(
        classes=("Qwen3Moe", "Qwen3VLMoe"),
        required=(*_GROUPED, *_EXPERTS),
        output_bias=_EVERYWHERE,
        query_key_norm="head",
        ignored=("shared_expert_intermediate_size", "use_qk_norm"),
    ),
    "qwen3_next": _QWEN3_NEXT,
    "qwen3_5": replace(_QWEN3_NEXT, classes=("Qwen3_5",)),
    "qwen3_5_moe": replace(_QWEN3_NEXT, classes=("Qwen3_5Moe",)),
    "gemma": Architecture(classes=("Gemma",), tied=True, output_bias=_EVERYWHERE, defaults={"head_dim": 256}),
    "gemma2": _GEMMA2,
    "gemma3": replace(_GEMMA2, classes=("Gemma3",), query_key_norm="head", sliding_every=6),
    "gemma3n": replace(
        _GEMMA2,
        classes=("Gemma3n",),
        plan=plans.gemma3n,
        query_key_norm="head",
        sliding_every=5,
        extras=extras.gemma3n_extras,
        defaults={
            "hidden_size": 2048,
            "num_hidden_layers": 35,
            "num_attention_heads": 8,
            "num_key_value_heads": 2,
            "head_dim": 256,
            "vocab_size": 262_400,
            "vocab_size_per_layer_input": 262_144,
            "hidden_size_per_layer_input": 256,
            "num_kv_shared_layers": 15,
            "sliding_window": 512,
        },
    ),
    "gemma4": _GEMMA4,
    "gemma4_unified": replace(
        _GEMMA4,
        classes=("Gemma4Unified",),
        extras=None,
        defaults={"head_dim": 256, "global_head_dim": 512, "num_key_value_heads": 4, "sliding_window": 1024},
    ),
    "phi": Architecture(
        classes=("Phi",),
        has_experts=False,
        gated_ffn=False,
        qkv_bias=True,
        output_bias=True,
        ffn_bias=True,
        head_bias=True,
        norms=("attn_norm",),
        norm_bias=True,
        query_key_norm="head",
        query_key_norm_if=("qk_layernorm", False),
    ),
    "phi3": Architecture(
        classes=("Phi3", "Phi3V", "Phi4MM", "Phi4Multimodal"),
        fused_qkv=True,
        joined_ffn=True,
        has_experts=False,
        ignored=(  # of the towers and their adapters
            "audio_processor",
            "img_processor",
            "embd_layer",
            "full_attn_mod",
            "speech_lora",
            "vision_lora",
        ),
    ),
    "phimoe": Architecture(
        classes=("PhiMoE", "Phimoe", "PhiMoe"),
        output_bias=_EVERYWHERE,
        head_bias=("lm_head_bias", False),
        norm_bias=True,
    ),
    "gpt2": _GPT2,
    "gpt_bigcode": replace(_GPT2, classes=("GPTBigCode",), plan=plans.one_key_head),
    "gptj": Architecture(
        classes=("GPTJ",),
        has_experts=False,
        ffn_ratio=4,
        gated_ffn=False,
        qkv_bias=False,
        ffn_bias=True,
        head_bias=True,
        norms=("attn_norm",),
        norm_bias=True,
    ),
    "gpt_neox": replace(
        _GPT2,
        classes=("GPTNeoX",),
        ffn_ratio=0,
        qkv_bias=("attention_bias", True),
        output_bias=("attention_bias", True),
        tied=False,
        positions=None,
    ),
    "bloom": replace(_GPT2, classes=("Bloom",), positions=None, extras=extras.embedding_norm),
    "mpt": Architecture(
        classes=("Mpt", "MPT"),
        plan=plans.mpt,
        has_experts=False,
        ffn_ratio=4,
        fused_qkv=True,
        gated_ffn=False,
        tied=True,
        ignored=("learned_pos_emb", "no_bias", "embedding_fraction", "ffn_config"),
    ),
    "falcon": Architecture(
        classes=("Falcon", "RW"),
        plan=plans.falcon,
        has_experts=False,
        ffn_ratio=4,
        fused_qkv=True,
        gated_ffn=False,
        qkv_bias=("bias", False),
        output_bias=("bias", False),
        ffn_bias=("bias", False),
        norms=("attn_norm",),
        norm_bias=True,
        tied=True,
        ignored=("num_ln_in_parallel_attn", "parallel_attn", "n_head_kv"),
    ),
    "opt": Architecture(
        classes=("OPT",),
        plan=plans.opt,
        has_experts=False,
        gated_ffn=False,
        qkv_bias=("enable_bias", True),
        output_bias=("enable_bias", True),
        ffn_bias=("enable_bias", True),
        norm_bias=True,
        tied=True,
        positions=2,
    ),
    "starcoder2": Architecture(
        classes=("Starcoder2",),
        has_experts=False,
        gated_ffn=False,
        qkv_bias=("use_bias", True),
        output_bias=("use_bias", True),
        ffn_bias=("use_bias", True),
        norm_bias=True,
        tied=True,
        ignored=("mlp_type",),
    ),
    "stablelm": Architecture(
        classes=("StableLm", "StableLmEpoch", "StableLM"),
        has_experts=False,
        qkv_bias=("use_qkv_bias", False),
        norm_bias=True,
        query_key_norm="full",
        query_key_norm_if=("qk_layernorm", False),
        ignored=("num_heads",),
    ),
    "nemotron": Architecture(
        classes=("Nemotron",),
        has_experts=False,
        gated_ffn=False,
        output_bias=_EVERYWHERE,
        ffn_bias=("mlp_bias", False),
        norm_bias=True,
    ),
    "arcee": Architecture(
        classes=("Arcee",),
        has_experts=False,
        gated_ffn=False,
        output_bias=_EVERYWHERE,
        ffn_bias=("mlp_bias", False),
    ),
    "apertus": Architecture(
        classes=("Apertus",),
        has_experts=False,
        gated_ffn=False,
        output_bias=_EVERYWHERE,
        query_key_norm="head",
        ignored=("qk_norm", "mlp_bias", "post_norm"),
    ),
    "olmo": Architecture(
        classes=("OLMo", "Olmo"), has_experts=False, output_bias=_EVERYWHERE, norm_weight=False
    ),
    "olmo2": Architecture(classes=("Olmo2",), output_bias=_EVERYWHERE, query_key_norm="full"),
    "olmo3": Architecture(
        classes=("Olmo3",), output_bias=_EVERYWHERE, query_key_norm="full", sliding_every=4
    ),
    "olmoe": Architecture(classes=("Olmoe", "OlmoE"), output_bias=_EVERYWHERE, query_key_norm="full"),
    "cohere": Architecture(
        classes=("Cohere",),
        has_experts=False,
        tied=True,
        output_bias=_EVERYWHERE,
        norms=("attn_norm",),
        query_key_norm="full",
        query_key_norm_if=("use_qk_norm", False),
    ),
    "cohere2": Architecture(
        classes=("Cohere2",),
        has_experts=False,
        tied=True,
        output_bias=_EVERYWHERE,
        norms=("attn_norm",),
        sliding_every=4,
        ignored=(
            "order_of_interleaved_layers",
            "use_gated_activation",
            "use_embedding_sharing",
            "use_qk_norm",
        ),
    ),
    "exaone": Architecture(classes=("Exaone",), has_experts=False),
    "exaone4": Architecture(classes=("Exaone4",), has_experts=False, query_key_norm="head", sliding_every=4),
    "smollm3": Architecture(
        classes=("SmolLM3",),
        has_experts=False,
        output_bias=_EVERYWHERE,
        ffn_bias=("mlp_bias", False),
        tied=True,
    ),
    "seed_oss": Architecture(
        classes=("SeedOss",),
        has_experts=False,
        qkv_bias=("attention_bias", True),
        output_bias=("attention_out_bias", False),
        ffn_bias=("mlp_bias", False),
        defaults={"head_dim": 128},
    ),
    "exaone_moe": Architecture(
        classes=("ExaoneMoe", "ExaoneMoE"), query_key_norm="head", sliding_every=4, router_bias=True
    ),
    "hy_v3": Architecture(
        classes=("HYV3",),
        defaults={"first_k_dense_replace": 1},
        output_bias=_EVERYWHERE,
        ffn_bias=("mlp_bias", False),
        query_key_norm="head",
        router_bias=True,
    ),
    "solar_open": Architecture(classes=("SolarOpen",), output_bias=_EVERYWHERE, router_bias=True),
    "afmoe": Architecture(
        classes=("Afmoe",),
        output_bias=_EVERYWHERE,
        attention_gate=True,
        query_key_norm="head",
        router_bias=True,
        norms=("attn_norm", "ffn_norm", "post_attention_norm", "post_ffw_norm"),
        sliding_every=4,
        ignored=("global_attn_every_n_layers", "num_expert_groups", "num_limited_groups"),
    ),
    "jais2": Architecture(
        classes=("Jais2",),
        has_experts=False,
        gated_ffn=False,
        qkv_bias=("attention_bias", True),
        output_bias=("attention_bias", True),
        ffn_bias=("mlp_bias", True),
        norm_bias=True,
    ),
    "helium": replace(_LLAMA, classes=("Helium",), plan=plans.helium, has_experts=False, output_bias=False),
    "internlm2": Architecture(classes=("InternLM2",), qkv_bias=("bias", True), output_bias=("bias", True)),
    "internlm3": Architecture(
        classes=("InternLM3",),
        has_experts=False,
        qkv_bias=("qkv_bias", False),
        output_bias=("bias", False),
        ffn_bias=("bias", False),
    ),
    "baichuan": Architecture(classes=("Baichuan", "BaiChuan"), has_experts=False),
    "minicpm": Architecture(classes=("MiniCPM",), has_experts=False, tied=True),
    "qwen": Architecture(
        classes=("QWen",), plan=plans.qwen, has_experts=False, fused_qkv=True, qkv_bias=True
    ),
    "chatglm": Architecture(
        classes=("ChatGLM",),
        plan=plans.chatglm,
        has_experts=False,
        fused_qkv=True,
        joined_ffn=True,
        qkv_bias=("add_qkv_bias", False),
        output_bias=("add_bias_linear", False),
        ffn_bias=("add_bias_linear", False),
        ignored=("post_layer_norm",),
    ),
    "bitnet": Architecture(
        classes=("BitNet", "Bitnet"),
        has_experts=False,
        tied=True,
        extras=extras.inner_norms,
        ignored=("hidden_act",),  # the block has a gate whatever it says
    ),
    "granite": _GRANITE,
    "granitemoe": replace(_GRANITE, classes=("GraniteMoe",), ffn_bias=False),
    "granitemoeshared": replace(_GRANITE, classes=("GraniteMoeShared",), ffn_bias=False),
    "granitemoehybrid": Architecture(
        classes=("GraniteMoeHybrid",),
        plan=plans.granite_hybrid,
        ignored=("mamba_d_head", "normalization_function", "mlp_bias", "init_method"),
    ),
    "hunyuan_v1_dense": Architecture(
        classes=("HunYuanDenseV1", "HunYuan"),
        output_bias=_EVERYWHERE,
        query_key_norm="head",
        has_experts=False,
        ignored=(
            "org_vocab_size",
            "use_qk_norm",
            "num_experts",
            "attention_head_dim",
            "use_cla",
            "cla_share_factor",
            "mlp_bias",
        ),
    ),
    "hunyuan_v1_moe": Architecture(
        classes=("HunYuanMoEV1",),
        required=(*_GROUPED, "num_experts", "intermediate_size"),
        output_bias=_EVERYWHERE,
        query_key_norm="head",
        shared_is_expert=True,
        ignored=(
            "org_vocab_size",
            "num_media_embeds",
            "use_qk_norm",
            "attention_head_dim",
            "cla_share_factor",
            "use_mixed_mlp_moe",
            "moe_layer_num_skipped",
            "moe_drop_tokens",
            "moe_random_routing_dropped_token",
            "mlp_bias",
        ),
    ),
    "ernie4_5": Architecture(
        classes=("Ernie4_5",),
        has_experts=False,
        qkv_bias=("use_bias", False),
        output_bias=("use_bias", False),
        ffn_bias=("use_bias", False),
        tied=True,
    ),
    "ernie4_5_moe": Architecture(
        classes=("Ernie4_5_Moe", "Ernie4_5_MoE"),
        qkv_bias=("use_bias", False),
        output_bias=("use_bias", False),
        ffn_bias=("use_bias", False),
        router_bias=True,
        tied=True,
    ),
    "mimo": Architecture(classes=("MiMo",), has_experts=False, qkv_bias=("attention_bias", True)),
    "mimo_v2_flash": Architecture(
        classes=("MiMoV2Flash",),
        plan=plans.mimo,
        value_dim=True,
        heads_of={
            "sliding": {
                "num_attention_heads": "swa_num_attention_heads",
                "num_key_value_heads": "swa_num_key_value_heads",
                "head_dim": "swa_head_dim",
                "v_head_dim": "swa_v_head_dim",
            }
        },
        ignored=("attention_chunk_size", "sliding_window_size", "hybrid_block_size"),
    ),
    "dots1": Architecture(
        classes=("Dots1",),
        required=(*_GROUPED, *_OF_EXPERTS),
        output_bias=_EVERYWHERE,
        query_key_norm="head",
        router_bias=True,
    ),
    "bailing_moe": Architecture(
        classes=("BailingMoe", "BailingMoeV2"),
        required=(*_GROUPED, *_EXPERTS, "n_shared_experts"),
        qkv_bias=("use_qkv_bias", False),
        output_bias=("use_bias", False),
        query_key_norm="head",
        query_key_norm_if=("use_qk_norm", False),
        router_bias=True,
        ignored=("moe_router_topk_scaling_factor", "num_hidden_groups", "embedding_dropout"),
    ),
    "minimax": Architecture(
        classes=("MiniMax", "MiniMaxText01", "MiniMaxM1"),
        plan=plans.minimax_text,
        qkv_bias=False,
        ignored=("shared_moe_mode",),
    ),
    "minimax_m2": Architecture(
        classes=("MiniMaxM2",),
        query_key_norm="full",
        router_bias=True,
        ignored=("attn_type_list", "use_qk_norm", "qk_norm_type", "shared_moe_mode", "num_mtp_modules"),
    ),
    "arctic": Architecture(classes=("Arctic",), plan=plans.arctic, qkv_bias=("attention_bias", False)),
    "gpt_oss": Architecture(
        classes=("GptOss",),
        qkv_bias=("attention_bias", True),
        output_bias=("attention_bias", True),
        attention_sinks=True,
        router_bias=True,
        expert_bias=True,
        sliding_every=2,
        ignored=("experts_per_token", "initial_context_length"),
    ),
    "deepseek": Architecture(classes=("Deepseek",), required=_EXPERTS, output_bias=_EVERYWHERE),
    "deepseek_v2": replace(
        _DEEPSEEK_V3,
        classes=("DeepseekV2",),
        required=_OF_EXPERTS,
        router_bias=False,
        ignored=(*_DEEPSEEK_V3.ignored, "use_mla", "lm_head", "rm_head"),
    ),
    "deepseek_v3": _DEEPSEEK_V3,
    "deepseek_v32": replace(_DEEPSEEK_V3, classes=("DeepseekV32",)),
    "mistral4": replace(_DEEPSEEK_V3, classes=("Mistral4",), router_bias=False),
    "kimi_k2": replace(
        _DEEPSEEK_V3, classes=("DeepseekV3", "KimiK2"), required=(*_OF_EXPERTS, "q_lora_rank")
    ),
    "glm_moe_dsa": replace(_DEEPSEEK_V3, classes=("GlmMoeDsa",)),
    "glm4_moe_lite": replace(_DEEPSEEK_V3, classes=("Glm4MoeLite",), defaults={"first_k_dense_replace": 1}),
    "glm": replace(_GLM4, classes=("Glm",), has_experts=False),
    "glm4": replace(
        _GLM4,
        required=_GROUPED,
        norms=("attn_norm", "ffn_norm", "post_attention_norm", "post_ffw_norm"),
        has_experts=False,
    ),
    "glm4_moe": Architecture(
        classes=("Glm4Moe", "Glm4vMoe"),
        required=(*_GROUPED, *_OF_EXPERTS),
        query_key_norm="head",
        query_key_norm_if=("use_qk_norm", False),
        router_bias=True,
    ),
    "llama4": Architecture(
        classes=("Llama4",),
        output_bias=_EVERYWHERE,
        sliding_every=4,
        shared_is_expert=True,
        ignored=("use_qk_norm",),
    ),
    "mllama": Architecture(
        classes=("Mllama",),
        required=_GROUPED,
        plan=plans.cross_attending,
        has_experts=False,
        qkv_bias=False,
        rows_beside=8,
    ),
    "nemotron_h": Architecture(
        classes=("NemotronH",),
        plan=plans.nemotron_h,
        gated_ffn=False,
        output_bias=_EVERYWHERE,
        ffn_bias=("mlp_bias", False),
        norms=("attn_norm",),
        ignored=(
            "mtp_layers_block_type",
            "mtp_hybrid_override_pattern",
            "moe_shared_expert_overlap",
            "time_step_rank",
            "attention_head_dim",
        ),
    ),
    "jamba": Architecture(
        classes=("Jamba",),
        plan=plans.jamba,
        qkv_bias=False,
        ignored=("layers_block_type", "num_logits_to_keep", "layer_types"),
    ),
    "bamba": Architecture(
        classes=("Bamba",),
        plan=plans.bamba,
        output_bias=_EVERYWHERE,
        ffn_bias=("mlp_bias", False),
        ignored=("mamba_d_head", "layer_types", "layers_block_type"),
    ),
    "falcon_h1": Architecture(
        classes=("FalconH1",),
        plan=plans.falcon_h1,
        output_bias=_EVERYWHERE,
        ffn_bias=("mlp_bias", False),
        ignored=("mlp_expansion_factor", "mamba_use_mlp", "attn_layer_indices", "projectors_bias"),
    ),
    "lfm2": Architecture(
        classes=("Lfm2",),
        plan=plans.lfm2,
        has_experts=False,
        qkv_bias=False,
        query_key_norm="head",
        tied=True,
        ignored=("conv_dim", "conv_dim_out", "num_heads", "conv_use_xavier_init"),
    ),
    "lfm2_moe": Architecture(
        classes=("Lfm2Moe",),
        required=(*_GROUPED, *_EXPERTS),
        defaults={"first_k_dense_replace": 2},
        plan=plans.lfm2,
        qkv_bias=False,
        query_key_norm="head",
        tied=True,
        router_bias=True,
        ignored=("use_expert_bias", "conv_dim", "conv_dim_out", "num_heads"),
    ),
    "recurrent_gemma": Architecture(
        classes=("RecurrentGemma",),
        plan=plans.recurrent_gemma,
        output_bias=True,
        tied=True,
        ignored=(
            "embeddings_scale_by_sqrt_dim",
            "_block_types",
        ),
    ),
    "mamba": _MAMBA,
    "falcon_mamba": replace(_MAMBA, classes=("FalconMamba",)),
    "mamba2": replace(
        _MAMBA, classes=("Mamba2",), plan=plans.mamba2_model, tied=False, ignored=("time_step_rank",)
    ),
    "bert": _BERT,
    "roberta": replace(_BERT, classes=("Roberta",)),
    "xlm-roberta": replace(_BERT, classes=("XLMRoberta",)),
    "camembert": replace(_BERT, classes=("Camembert",)),
    "mpnet": replace(
        _BERT,
        classes=("MPNet",),
        defaults={"max_position_embeddings": 512},
        ignored=("relative_attention_num_buckets",),
    ),
    "distilbert": replace(
        _BERT, classes=("DistilBert",), pooler=False, defaults={"max_position_embeddings": 512}
    ),
    "nomic_bert": replace(
        _BERT,
        classes=("NomicBert",),
        plan=plans.nomic_bert,
        pooler=False,
        gated_ffn=True,
        qkv_bias=("qkv_proj_bias", False),
        output_bias=False,
        ffn_bias=("mlp_fc1_bias", False),
        positions=None,
        ignored=(
            "rotary_emb_fraction",
            "n_positions",
            "use_rms_norm",
            "mlp_fc2_bias",
            "layer_norm_epsilon",
            "prenorm",
            "head_dim",
        ),
    ),
    "modernbert": replace(
        _BERT,
        classes=("ModernBert",),
        pooler=False,
        fused_qkv=True,
        gated_ffn=True,
        joined_ffn=True,
        qkv_bias=("attention_bias", False),
        output_bias=("attention_bias", False),
        ffn_bias=("mlp_bias", False),
        norm_bias=("norm_bias", False),
        norms=("attn_norm", "ffn_norm"),
        final_norm=True,
        positions=None,
        defaults={},
        ignored=(
            "local_attention",
            "global_attn_every_n_layers",
            "layer_types",
            "sliding_window",
            "decoder_bias",
            "classifier_bias",
            "compile",
            "reference_compile",
        ),
    ),
}

#: A possible Llama under a new name: no experts, no unread field, no guessed value.
LLAMA_LIKE = replace(
    _LLAMA,
    classes=(),
    has_experts=False,
    strict=True,
    required=("tie_word_embeddings", "num_key_value_heads"),
)

NOT_MODELLED: dict[str, str] = {
    "t5": "encoder-decoder models keep two caches",
    "whisper": "encoder-decoder models keep two caches",
    "bart": "encoder-decoder models keep two caches",
    "rwkv": "it has no attention and keeps a state of its own kind",
    "rwkv5": "it has no attention and keeps a state of its own kind",
    "rwkv6": "it has no attention and keeps a state of its own kind",
    "rwkv7": "it has no attention and keeps a state of its own kind",
    "dbrx": "its sizes lie in attn_config and ffn_config, which are not read here",
    "phi3small": "its block-sparse attention is not counted here",
    "deepseek_v4": "its compressed sparse attention has another cache",
    "kimi_linear": "its delta attention is not counted here",
    "albert": "its layers share their weights, which a count of layers does not show",
    "deberta": "its attention has matrices of positions that are not counted here",
    "deberta-v2": "its attention has matrices of positions that are not counted here",
    "electra": "its embedding has a width of its own, which is not counted here",
    "zamba": "its attention layers share their weights, which a count of layers does not show",
    "zamba2": "its attention layers share their weights, which a count of layers does not show",
    "vibevoice": "its decoder of sound is not counted here",
    "vibevoice_asr": "its encoder of sound is not counted here",
    "granite_speech": "its encoder of speech is not counted here",
    "granite_speech_plus": "its encoder of speech is not counted here",
    "openelm": "every layer has another width, which is not counted here",
    "deci": "every layer has another width, which is not counted here",
    "nemotron-nas": "every layer has another width, which is not counted here",
}

#: Parts that are never whole models: whether there is an output depends on the whole.
TEXT_PARTS = frozenset({"glm4v_text", "qwen2_vl_text", "qwen2_5_vl_text", "qwen3_vl_text", "glm4v_moe_text"})

#: Other names of the same architecture.
_SAME = {
    "mllama_text_model": "mllama",
    "minimax_text_01": "minimax",
    "minimax_m1": "minimax",
    "phi3_v": "phi3",
    "phi4mm": "phi3",
    "phi4_multimodal": "phi3",
    "hunyuan": "hunyuan_v1_moe",
    "bailing_moe_v2": "bailing_moe",
    "RefinedWeb": "falcon",
    "RefinedWebModel": "falcon",
    "stablelm_epoch": "stablelm",
    "qwen2_vl": "qwen2",
    "qwen2_5_vl": "qwen2",
    "qwen3_vl": "qwen3",
    "qwen3_vl_moe": "qwen3_moe",
    "glm4v": "glm4",
    "glm4v_moe": "glm4_moe",
    "kimi_k25": "kimi_k2",
    "rw": "falcon",
}

_HEADS = re.compile(
    r"(ForCausalLM|LMHeadModel|ForConditionalGeneration|ForMaskedLM|ForPreTraining|ForImageTextToText)$"
)
_NO_HEADS = re.compile(
    r"((Text)?Model|For(SequenceClassification|TokenClassification|QuestionAnswering|MultipleChoice|Embedding|"
    r"RewardModel|TextEncoding))$"
)
_GENERIC_CLASSES = frozenset({"", "model", "auto", "automodel"})


def _stem(name: str) -> str:
    return _NO_HEADS.sub("", _HEADS.sub("", name)).lower()


def _without_separators(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower())


_BY_CLASS = {name.lower(): key for key, arch in reversed(ARCHITECTURES.items()) for name in arch.classes}
_REFUSED_CLASSES = {_without_separators(name): name for name in NOT_MODELLED}


def architecture_of(fields: Fields) -> tuple[str, Architecture]:
    """Find the architecture of a configuration by its `model_type` and its `architectures`.

    Raises
    ------
    ValueError
        If it is not known, or the two contradict each other.
    """
    model_type = fields.text("model_type", "")
    name = _SAME.get(model_type, model_type).removesuffix("_text")
    name = _SAME.get(name, name)
    class_name = _class_name(fields)
    stem = _stem(class_name)
    refused = _REFUSED_CLASSES.get(_without_separators(stem)) or (name if name in NOT_MODELLED else None)
    if refused:
        raise ValueError(f"model_type {refused!r} is not modelled: {NOT_MODELLED[refused]}")
    fields.headless = bool(class_name) and stem not in _GENERIC_CLASSES and not _HEADS.search(class_name)
    arch = ARCHITECTURES.get(name)
    if model_type:
        fields.seen["model_type"] = name
    if stem in _GENERIC_CLASSES:
        return (name, arch or LLAMA_LIKE) if name else ("llama", _LLAMA)
    if arch is not None:
        if stem in (known.lower() for known in arch.classes) or _without_separators(
            name
        ) == _without_separators(stem):
            return name, arch
        if stem not in _BY_CLASS:
            raise ValueError(
                f"the class {brief(class_name)} in architectures is not known; it is not counted"
            )
        raise ValueError(
            f"architectures says {brief(class_name)} and model_type {brief(model_type)}: only one can "
            "be right"
        )
    if stem in _BY_CLASS:
        fields.seen["model_type"] = _BY_CLASS[stem]
        return _BY_CLASS[stem], ARCHITECTURES[_BY_CLASS[stem]]
    return name or stem, LLAMA_LIKE


def _class_name(fields: Fields) -> str:
    listed: Any = fields.raw("architectures")
    first = next(iter(listed), None) if isinstance(listed, list | tuple) else listed
    if first is None:
        return ""
    if not isinstance(first, str) or len(first) > 100:
        raise ValueError(f"architectures is {brief(listed)}; it must name a class")
    return first
