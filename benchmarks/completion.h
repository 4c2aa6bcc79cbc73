/* What the mock provider says: known to the upstream, which sends it, and to the load generator, which expects it.
 *
 * Every request carries a nonce (`bench-` and 16 hex digits) and every answer repeats it, so an answer that reaches the
 * wrong request is noticed, as is any changed byte: bodies are compared in full, events up to their clock reading.
 */
#ifndef BENCH_COMPLETION_H
#define BENCH_COMPLETION_H

#include <stdint.h>
#include <stdio.h>
#include <string.h>

#define NONCE_MARK "bench-"
#define NONCE_MARK_LEN 6
#define NONCE_DIGITS 16
#define NO_NONCE "0000000000000000"
#define BODY_LIMIT 2048
#define EVENT_LIMIT 1024
#define PACE_MARK "pace-"
#define LAST_EVENT "data: [DONE]"

/* The nonce inside a body, or zeros. */
static inline const char *find_nonce(const char *body, size_t size)
{
    const char *mark = memmem(body, size, NONCE_MARK, NONCE_MARK_LEN);
    if (!mark || (size_t)(body + size - mark) < NONCE_MARK_LEN + NONCE_DIGITS)
        return NO_NONCE;
    return mark + NONCE_MARK_LEN;
}

/* The pace that a body asks its stream to have, `pace-CHUNKS-RATE` with the rate in chunks per second; others: as it was. */
static inline void find_pace(const char *body, size_t size, unsigned *chunks, double *rate)
{
    const char *mark = memmem(body, size, PACE_MARK, sizeof PACE_MARK - 1);
    unsigned asked_chunks, asked_rate;
    if (mark && sscanf(mark, PACE_MARK "%u-%u", &asked_chunks, &asked_rate) == 2 && asked_rate) {
        *chunks = asked_chunks;
        *rate = asked_rate;
    }
}

/* The end of the answer's text, which no proxy may lose, however it writes the answer anew. */
#define ANSWER_END "that either side could notice."

/* A chat completion of about 1 KB, the size of a short answer from a real provider. */
static inline size_t write_completion(char *out, const char *nonce)
{
    return (size_t)snprintf(
        out, BODY_LIMIT,
        "{\"id\":\"chatcmpl-" NONCE_MARK "%.16s\",\"object\":\"chat.completion\",\"created\":1763683200,"
        "\"model\":\"gpt-4o-mini-2024-07-18\",\"choices\":[{\"index\":0,\"message\":{\"role\":\"assistant\","
        "\"content\":\"A reverse proxy stands between an application and the service it calls. It accepts the "
        "connection of the application, opens or reuses one of its own towards the service, and passes the bytes of "
        "both directions on as they come. What it adds is a place to look: how long each call took, how large it was, "
        "what it cost and how it ended. What it must not add is delay, or a difference " ANSWER_END "\",\"refusal\":null,\"annotations\":[]},\"logprobs\":null,\"finish_reason\":\"stop\"}],"
        "\"usage\":{\"prompt_tokens\":187,\"completion_tokens\":84,\"total_tokens\":271,"
        "\"prompt_tokens_details\":{\"cached_tokens\":0,\"audio_tokens\":0},"
        "\"completion_tokens_details\":{\"reasoning_tokens\":0,\"audio_tokens\":0,"
        "\"accepted_prediction_tokens\":0,\"rejected_prediction_tokens\":0}},"
        "\"service_tier\":\"default\",\"system_fingerprint\":\"fp_0000bench0\"}",
        nonce);
}

#define EVENT_START "data: {\"id\":\"chatcmpl-" NONCE_MARK "%.16s\",\"object\":\"chat.completion.chunk\",\"created\":1763683200,\"model\":\"gpt-4o-mini-2024-07-18\","

/* One streamed delta, up to its clock reading: the part that the load generator can predict. */
static inline size_t write_delta_start(char *out, const char *nonce, unsigned number)
{
    return (size_t)snprintf(out, EVENT_LIMIT, EVENT_START "\"choices\":[{\"index\":0,\"delta\":{\"content\":\"%06u ",
                            nonce, number);
}

#define DELTA_END " \"},\"logprobs\":null,\"finish_reason\":null}]}"

/* A whole streamed delta, carrying the CLOCK_MONOTONIC reading of the moment before it is sent. */
static inline size_t write_delta(char *out, const char *nonce, unsigned number, uint64_t sent_ns)
{
    size_t size = write_delta_start(out, nonce, number);
    return size + (size_t)snprintf(out + size, EVENT_LIMIT - size, "%020llu" DELTA_END "\n\n",
                                   (unsigned long long)sent_ns);
}

static inline size_t write_finish(char *out, const char *nonce)
{
    return (size_t)snprintf(out, EVENT_LIMIT,
                            EVENT_START "\"choices\":[{\"index\":0,\"delta\":{},\"logprobs\":null,"
                                        "\"finish_reason\":\"stop\"}]}\n\n",
                            nonce);
}

static inline size_t write_usage(char *out, const char *nonce, unsigned deltas)
{
    return (size_t)snprintf(out, EVENT_LIMIT,
                            EVENT_START "\"choices\":[],\"usage\":{\"prompt_tokens\":187,\"completion_tokens\":%u,"
                                        "\"total_tokens\":%u}}\n\n",
                            nonce, deltas, deltas + 187);
}

#endif
