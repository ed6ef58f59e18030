"""Checked access to the fields of a `config.json`, which is treated as untrusted.

Every read is recorded, so that `quant_core.llm.shapes` knows which fields decided the shape and which were
not read. Only `ValueError` is raised, and the work is linear in the size of the configuration.

References
----------
transformers 5.18, `configuration_utils.py` (`PreTrainedConfig`): a null is a missing field, and what its
`attribute_map` and `to_dict` add to every configuration.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

#: Other names of the same field: those of older classes, and of llama.cpp's logs.
SPELLINGS: dict[str, tuple[str, ...]] = {
    "hidden_size": ("n_embd", "n_embed", "d_model", "dim"),
    "num_hidden_layers": ("n_layer", "num_layers", "n_layers"),
    "num_attention_heads": ("n_head", "n_heads"),
    "num_key_value_heads": ("n_head_kv", "num_kv_heads", "multi_query_group_num", "num_query_groups"),
    "intermediate_size": ("n_inner", "n_ff", "ffn_dim", "ffn_hidden_size", "hidden_dim"),
    "vocab_size": ("n_vocab", "padded_vocab_size"),
    "max_position_embeddings": ("n_positions", "n_ctx_train", "max_seq_len"),
    "num_experts": ("num_local_experts", "n_routed_experts", "moe_num_experts"),
    "num_experts_per_tok": ("num_experts_per_token", "top_k_experts", "moe_k", "moe_topk"),
    "moe_intermediate_size": ("expert_intermediate_size",),
    "n_shared_experts": ("num_shared_experts", "num_shared_expert", "moe_num_shared_experts"),
    "shared_expert_intermediate_size": ("shared_intermediate_size",),
    "sliding_window_pattern": ("_sliding_window_pattern",),
    "sliding_window": ("attention_chunk_size", "sliding_window_size"),
    "rope_scaling": ("rope_parameters",),
}

#: Fields with the same meaning in another form: if one is given, no default is used.
_INSTEAD = {"shared_expert_intermediate_size": ("n_shared_experts", *SPELLINGS["n_shared_experts"])}

_USUAL = {spelling: name for name, spellings in SPELLINGS.items() for spelling in spellings}
_MOST_TEXT = 100

#: A constant of the architecture, or the name of a field and its default.
Flag = bool | tuple[str, bool]


class Fields:
    """The fields of a configuration by name. A null counts as missing, without a default."""

    def __init__(self, config: Mapping[str, Any]) -> None:
        self.config = config
        self.defaults: Mapping[str, Any] = {}  # of the architecture
        self.of_class: dict[str, Any] = {}  # of its class in transformers
        self.seen: dict[str, Any] = {}
        self.assumed: dict[str, Any] = {}
        self.headless = False  # the class has no output head (LlamaModel, …ForSequenceClassification)

    def raw(self, name: str) -> Any:
        """Return the value under the first name that is present, else the default, else None."""
        for spelling in (name, *SPELLINGS.get(name, ())):
            value = self.config.get(spelling)
            if value is not None:
                self.seen[spelling] = value
                return value
        if name in self.defaults:
            return self.defaults[name]
        value = self.of_class.get(name)
        others = (name, *SPELLINGS.get(name, ()), *_INSTEAD.get(name, ()))
        if value is None or any(other in self.config for other in others):
            return None
        self.assumed[name] = value
        return value

    def has(self, name: str) -> bool:
        """Whether the field is present."""
        return self.raw(name) is not None

    def integer(self, name: str, high: int, *, low: int = 1, default: int | None = None) -> int:
        """Return an integer from a range."""
        value = self.raw(name)
        if value is None:
            if default is None:
                raise ValueError(f"{name} is missing; it must be an integer from {low} to {high}")
            return default
        if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
            raise ValueError(f"{name} is {brief(value)}; it must be an integer from {low} to {high}")
        return value

    def flag(self, name: str, default: bool) -> bool:
        """Return a bool."""
        value = self.raw(name)
        if value is None:
            return default
        if not isinstance(value, bool):
            raise ValueError(f"{name} is {brief(value)}; it must be true or false")
        return value

    def chosen(self, flag: Flag) -> bool:
        """Return a constant of the architecture, or the value of the field that it names."""
        return flag if isinstance(flag, bool) else self.flag(*flag)

    def text(self, name: str, default: str) -> str:
        """Return a short text."""
        value = self.raw(name)
        if value is None:
            return default
        if not isinstance(value, str) or len(value) > _MOST_TEXT:
            raise ValueError(
                f"{name} is {brief(value)}; it must be a text of at most {_MOST_TEXT} characters"
            )
        return value

    def integers(self, name: str, count: int | None, low: int, high: int) -> tuple[int, ...] | None:
        """Return `count` integers from a range; None if the field is missing."""
        value = self.raw(name)
        if value is None:
            return None
        if not isinstance(value, list | tuple) or (count is not None and len(value) != count):
            wanted = "" if count is None else f"{count} "
            raise ValueError(f"{name} is {brief(value)}; it must list {wanted}integers from {low} to {high}")
        for item in value:
            if not isinstance(item, int) or isinstance(item, bool) or not low <= item <= high:
                raise ValueError(f"{name} has {brief(item)}; it must list integers from {low} to {high}")
        return tuple(value)

    def names(self, name: str, count: int | None, known: Iterable[str]) -> tuple[str, ...] | None:
        """Return `count` of the known names; None if the field is missing."""
        value = self.raw(name)
        if value is None:
            return None
        if not isinstance(value, list | tuple) or (count is not None and len(value) != count):
            raise ValueError(f"{name} is {brief(value)}; it must list {count or 'the'} layers, one name each")
        allowed = set(known)
        for item in value:
            if not isinstance(item, str) or item not in allowed:
                raise ValueError(f"{name} has {brief(item)}; known are {', '.join(known)}")
        return tuple(value)

    def _is_read_elsewhere(self, name: str, value: Any) -> bool:
        """Whether the field is another name of one that was read, with the same value."""
        usual = _USUAL.get(name)
        if usual is None:
            return False
        return any(
            spelling in self.seen and self.seen[spelling] == value for spelling in (usual, *SPELLINGS[usual])
        )

    def first_unread(self, ignored: frozenset[str], strict: bool) -> str | None:
        """Return the first unread field that may decide a size; None if there is none.

        A field with a neutral value (null, false, 0, an empty text or list) does not decide a size. Without
        `strict` neither does a field with an unknown name; with it, only fields known to be harmless are
        allowed, and some matter even when false.
        """
        for name, value in self.config.items():
            if name in self.seen or name in ignored or not isinstance(name, str):
                continue
            if strict and len(name) <= _MOST_TEXT and _OPEN.search(name) and value is not None:
                return name
            if not value or never_decides_a_size(name) or self._is_read_elsewhere(name, value):
                continue
            if strict or (len(name) <= _MOST_TEXT and _DECIDING.search(name)):
                return name
        return None


def brief(value: object) -> str:
    """Return a value as a short text for a message."""
    if isinstance(value, list | dict | tuple):
        return f"{type(value).__name__} of {len(value)}"
    text = repr(value) if not isinstance(value, str) else repr(value[:80])
    return text if len(text) <= 60 else text[:57] + "..."


def never_decides_a_size(name: str) -> bool:
    """Whether a field of this name never affects the size of weights or cache."""
    return name in _INERT or (len(name) <= _MOST_TEXT and bool(_INERT_PATTERN.search(name)))


# Names that belong to how a model computes, was trained, is stored or served.
_INERT = frozenset(
    """
    architectures auto_map dtype torch_dtype transformers_version id2label label2id num_labels
    problem_type return_dict output_attentions output_hidden_states output_router_logits use_cache
    use_return_dict torchscript chunk_size_feed_forward pruned_heads task_specific_params
    finetuning_task language model_max_length gradient_checkpointing use_gradient_checkpointing
    pretraining_tp ep_size tp_size pad_vocab_size_multiple max_length min_length do_sample
    early_stopping num_beams num_beam_groups diversity_penalty temperature top_k top_p typical_p
    repetition_penalty length_penalty no_repeat_ngram_size encoder_no_repeat_ngram_size
    bad_words_ids num_return_sequences output_scores return_dict_in_generate forced_bos_token_id
    forced_eos_token_id remove_invalid_values exponential_decay_length_penalty suppress_tokens
    begin_suppress_tokens tokenizer_class prefix generation_config tie_encoder_decoder
    tf_legacy_loss use_bfloat16 quantization_config compression_config quantization unsloth_fixed
    unsloth_version model_type name_or_path attn_implementation attention_implementation
    use_flash_attn use_flash_attention flash_attn fused_rms_norm bos_token_id eos_token_id
    pad_token_id sep_token_id cls_token_id mask_token_id unk_token_id decoder_start_token_id
    max_position_embeddings original_max_position_embeddings max_sequence_length seq_length n_ctx
    seq_len training_sequence_length context_length rotary_pct rotary_emb_base rotary_percentage
    rotary_base rotary_dim rotary rotary_scaling_factor partial_rotary_factor
    position_embedding_type no_rope_layers no_rope_layer_interval max_window_layers
    use_sliding_window mrope_section use_mrope attn_temperature_tuning query_pre_attn_scalar
    attn_scale floor_scale attn_logit_softcapping final_logit_softcapping logits_soft_cap
    logit_scale logits_scaling attention_multiplier embedding_multiplier residual_multiplier
    lm_head_multiplier key_multiplier scale_emb scale_depth dim_model_base mup_width_scale
    mup_embeddings_multiplier mup_attn_multiplier mup_use_scaling mup_enabled attention_value_scale
    use_parallel_residual parallel_residual residual_in_fp32 rescale_prenorm_residual clip_qkv
    clip_logits attn_pdrop embd_pdrop resid_pdrop emb_pdrop alibi alibi_bias_max softmax_scale
    attn_type attention_softmax_in_fp32 scale_attention_softmax_in_fp32 scale_attn_weights
    scale_attn_by_inverse_layer_idx reorder_and_upcast_attn attention_scale
    apply_query_key_layer_scaling n_group topk_group topk_method norm_topk_prob scoring_func
    score_function routed_scaling_factor route_scale router_scaling_factor routing_scaling_factor
    seq_aux aux_loss_alpha router_aux_loss_coef router_jitter_noise router_z_loss_coef router_dtype
    moe_router_topk_scaling_factor moe_router_load_balancing_type moe_router_bias_update_rate
    router_aux_loss_factor routing_fn moe_norm_min moe_capacity moe_aux_loss_lambda moe_gate
    moe_use_aux_free moe_router_activation_func moe_router_enable_expert_bias moe_token_drop
    expert_selection_fn enable_moe_fp32_combine moe_train_capacity_factor moe_eval_capacity_factor
    moe_min_capacity moe_parallel_ffn moe_drop_tokens index_topk num_nextn_predict_layers
    mtp_num_layers num_mtp_modules use_mtp mtp_transformer_layers mtp_num_hidden_layers
    mtp_use_dedicated_embeddings mtp_loss_scaling_factor output_mtp_logits hidden_act
    hidden_activation activation_function activation mlp_hidden_act mamba_hidden_act swiglu_limit
    swiglu_alpha use_mambapy use_mamba_kernels use_associative_scan mamba_chunk_size chunk_size
    mamba_ssm_cache_dtype ssm_multipliers ssm_in_multiplier ssm_out_multiplier mlp_multipliers
    attention_in_multiplier attention_out_multiplier mamba_ssm_dtype num_logits_to_keep
    time_step_limit time_step_min time_step_max time_step_floor time_step_init_scheme
    time_step_scale mamba_norm_before_gate norm_before_gate mamba_dt_min mamba_dt_max
    mamba_dt_init_floor final_w_init_variance_scale w_init_variance_scale init_device init_method
    verbose cache_implementation altup_coef_clip altup_active_idx altup_lr_multiplier
    activation_sparsity_pattern use_bidirectional_attention summary_activation summary_first_dropout
    summary_proj_to_labels summary_type summary_use_proj classifier_activation classifier_pooling
    sparse_prediction sparse_pred_ignore_index deterministic_flash_attn slow_but_exact skip_bias_add
    skip_bias_add_qkv apply_residual_connection_post_layernorm layer_norm_elementwise_affine
    use_expert_bias_update ignore_index image_token_index image_token_id video_token_id
    vision_start_token_id vision_end_token_id vision_token_id image_seq_length mm_tokens_per_image
    num_image_tokens boi_token_index eoi_token_index audio_token_id boi_token_id eoi_token_id boa_token_id
    eoa_token_id eoa_token_index boa_token_index attn_output_gate_activation beta_fast beta_slow
    layer_norm_type norm_type rmsnorm freq_scaling xpos use_dynamic_ntk use_logn_attn long_factor
    short_factor gegelu_limit width_multiplier embedding_scale full_attn_alpha_factor
    full_attn_beta_factor linear_attn_alpha_factor linear_attn_beta_factor mlp_alpha_factor
    mlp_beta_factor layernorm_full_attention_alpha layernorm_full_attention_beta
    layernorm_linear_attention_alpha layernorm_linear_attention_beta layernorm_mlp_alpha
    layernorm_mlp_beta block_size postnorm
    """.split()  # noqa: SIM905 - so many names read better as words
)
_INERT_PATTERN = re.compile(
    r"""^_(?!sliding_window_pattern)|
        rope|rotary|theta|yarn|_eps$|epsilon|dropout|drop_rate|layerdrop|_token_id$|_token_ids$|_token_index$|
        initializer|^init_|_init_|init_std|_loss(_|$)|_coef(f|ficient)?$|_dtype$|softcap|^use_cache|_multiplier$|
        gradient|checkpoint|pdrop|temperature|^unsloth|_scale$|_scaling_factor$|scaling_beta|^transformers|
        ^summary_|^pooler_|^dual_chunk_|^generation|tensor_parallel|pipeline|^auto_|_cache_dtype$|_in_fp32$|_fp32$""",
    re.VERBOSE,
)

# In an unknown architecture: a feed-forward block without a gate, a computed width, learned positions,
# another kind of attention.
_OPEN = re.compile(r"glu|gated|ffn_.*multiplier|^(position_embedding_type|attn_type|activation)$")

# In a known architecture an unread field with such a name may decide a size.
_DECIDING = re.compile(
    r"""expert|moe|ssm|mamba|state|conv|recurrent|lru|lstm|layer_types|_type_list|_types$|pattern|interval|period|
        multi_query|cross_attention|encoder|is_decoder|_dim$|_dims$|_rank$|_size$|_width$|^d_|^n_|^num_|_heads$|_layers$|
        _layer_|layers_|_ratio|_multiple|_groups$|hidden_act|intermediate|ffn|mlp|kernel|latent|engram|hash|
        compress|low_rank|hidden_|_experts|qk_|head|vocab|attention_type|block_config|linear|window|chunk|gate""",
    re.VERBOSE,
)
