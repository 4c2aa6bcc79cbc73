"""Write a tiny random Llama as a GGUF file. Runs in the environment of llama-cpp-python, not in the project's."""

import sys

import gguf
import numpy as np

WIDTH, HEADS, FEED_FORWARD, LAYERS, CONTEXT = 64, 4, 128, 2, 512
SPECIAL = ["<unk>", "<s>", "</s>"]
BYTES = [f"<0x{byte:02X}>" for byte in range(256)]  # a byte-level vocabulary needs no training
NORMAL, UNKNOWN, CONTROL, BYTE = 1, 2, 3, 6  # token types of the format


def main(path: str) -> None:
    rng = np.random.default_rng(7)
    writer = gguf.GGUFWriter(path, "llama")
    tokens = SPECIAL + BYTES
    writer.add_name("tiny-random")
    writer.add_context_length(CONTEXT)
    writer.add_embedding_length(WIDTH)
    writer.add_block_count(LAYERS)
    writer.add_feed_forward_length(FEED_FORWARD)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(HEADS)
    writer.add_rope_dimension_count(WIDTH // HEADS)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_vocab_size(len(tokens))
    writer.add_tokenizer_model("llama")
    writer.add_token_list(tokens)
    writer.add_token_scores([0.0] * len(tokens))
    writer.add_token_types([UNKNOWN, CONTROL, CONTROL] + [BYTE] * len(BYTES))
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_unk_token_id(0)
    writer.add_chat_template("{% for message in messages %}{{ message['content'] }}\n{% endfor %}")

    def random(name: str, *shape: int) -> None:
        writer.add_tensor(f"{name}.weight", (rng.standard_normal(shape) * 0.05).astype(np.float32))

    def ones(name: str) -> None:
        writer.add_tensor(f"{name}.weight", np.ones(WIDTH, dtype=np.float32))

    random("token_embd", len(tokens), WIDTH)
    random("output", len(tokens), WIDTH)
    ones("output_norm")
    for layer in range(LAYERS):
        ones(f"blk.{layer}.attn_norm")
        ones(f"blk.{layer}.ffn_norm")
        for name in ("attn_q", "attn_k", "attn_v", "attn_output"):
            random(f"blk.{layer}.{name}", WIDTH, WIDTH)
        random(f"blk.{layer}.ffn_gate", FEED_FORWARD, WIDTH)
        random(f"blk.{layer}.ffn_up", FEED_FORWARD, WIDTH)
        random(f"blk.{layer}.ffn_down", WIDTH, FEED_FORWARD)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


main(sys.argv[1])
