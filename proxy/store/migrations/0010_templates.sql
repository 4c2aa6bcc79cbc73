-- Texts of requests that differ in their numbers alone: `usage`, `usage_buckets` and `cost_components` of `exchanges` may
-- hold a blob instead of a text: the id of a template, then the numbers that stand between its parts, all with commas.
CREATE TABLE templates (
    id INTEGER PRIMARY KEY,
    parts TEXT NOT NULL -- JSON array
);

-- What puts them together.
DROP VIEW requests;
DROP VIEW request_rows;
CREATE VIEW request_rows AS
SELECT
    seq, id, started_at, key, user, session, trace_id, parent_id, environment, tags, upstream, wire, endpoint,
    method, path, model_requested, model, streaming, status, outcome, error_code, error_message,
    first_token_us / 1000.0 AS ttft_ms,
    duration_us / 1000.0 AS duration_ms,
    overhead_us / 1000.0 AS overhead_ms,
    input_tokens, cached_input_tokens, cache_write_tokens, output_tokens, reasoning_tokens,
    CASE typeof(usage) WHEN 'blob' THEN (
        WITH packed (list) AS (SELECT '["' || replace(CAST(usage AS TEXT), ',', '","') || '"]')
        SELECT group_concat(part.value || coalesce(json_extract(packed.list, '$[' || (part.key + 1) || ']'), ''), '')
        FROM packed, templates, json_each(templates.parts) AS part
        WHERE templates.id = CAST(json_extract(packed.list, '$[0]') AS INTEGER)
    ) ELSE usage END AS usage,
    usage_source,
    cost_nano_usd / 1e9 AS cost_usd,
    cost_source, price_version, finish_reason, prompt_name, prompt_version, attempt, request_bytes, response_bytes,
    mutated, retry_of, cost_nano_usd, is_unpriced,
    CASE typeof(usage_buckets) WHEN 'blob' THEN (
        WITH packed (list) AS (SELECT '["' || replace(CAST(usage_buckets AS TEXT), ',', '","') || '"]')
        SELECT group_concat(part.value || coalesce(json_extract(packed.list, '$[' || (part.key + 1) || ']'), ''), '')
        FROM packed, templates, json_each(templates.parts) AS part
        WHERE templates.id = CAST(json_extract(packed.list, '$[0]') AS INTEGER)
    ) ELSE usage_buckets END AS usage_buckets,
    CASE typeof(cost_components) WHEN 'blob' THEN (
        WITH packed (list) AS (SELECT '["' || replace(CAST(cost_components AS TEXT), ',', '","') || '"]')
        SELECT group_concat(part.value || coalesce(json_extract(packed.list, '$[' || (part.key + 1) || ']'), ''), '')
        FROM packed, templates, json_each(templates.parts) AS part
        WHERE templates.id = CAST(json_extract(packed.list, '$[0]') AS INTEGER)
    ) ELSE cost_components END AS cost_components
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
