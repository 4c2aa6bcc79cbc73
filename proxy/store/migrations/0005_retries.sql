-- An attempt of ours to send a failed request again names the first one; NULL: it is the first.
ALTER TABLE exchanges ADD COLUMN retry_of TEXT;
CREATE INDEX exchanges_by_retry ON exchanges (retry_of) WHERE retry_of IS NOT NULL;

DROP VIEW requests;
DROP VIEW request_rows;
CREATE VIEW request_rows AS
SELECT
    seq, id, started_at, key, user, session, trace_id, parent_id, environment, tags, upstream, wire, endpoint, method,
    path, model_requested, model, streaming, status, outcome, error_code, error_message,
    first_token_us / 1000.0 AS ttft_ms,
    duration_us / 1000.0 AS duration_ms,
    overhead_us / 1000.0 AS overhead_ms,
    input_tokens, cached_input_tokens, cache_write_tokens, output_tokens, reasoning_tokens, usage, usage_source,
    cost_nano_usd / 1e9 AS cost_usd,
    cost_source, price_version, finish_reason, prompt_name, prompt_version, attempt, request_bytes, response_bytes,
    mutated, retry_of, cost_nano_usd, is_unpriced
FROM exchanges;

-- A public interface: the columns, their order and their meaning are a promise.
CREATE VIEW requests AS
SELECT
    id, started_at, key, user, session, trace_id, parent_id, environment, tags, upstream, wire, endpoint, method,
    path, model_requested, model, streaming, status, outcome, error_code, error_message, ttft_ms, duration_ms,
    overhead_ms, input_tokens, cached_input_tokens, cache_write_tokens, output_tokens, reasoning_tokens, usage,
    usage_source, cost_usd, cost_source, price_version, finish_reason, prompt_name, prompt_version, attempt,
    request_bytes, response_bytes, mutated, retry_of
FROM request_rows;
