/** Words and numbers for what the wire says in its own. */
import { duration } from "../../lib/format.ts";
import type { Feedback, Flag, StepName } from "./api.ts";

export const STEPS: Record<StepName, string> = {
  receive: "Receive request",
  admit: "Key and budget",
  connect: "Connect",
  wait: "Wait for first token",
  stream: "Stream",
};

export const BUCKETS: Record<string, string> = {
  input_uncached: "Input",
  cache_read: "Cached input",
  cache_write: "Cache write",
  cache_write_5m: "Cache write, 5 min",
  cache_write_30m: "Cache write, 30 min",
  cache_write_1h: "Cache write, 1 h",
  cache_write_12h: "Cache write, 12 h",
  input_audio: "Audio input",
  input_image: "Image input",
  input_video: "Video input",
  cache_read_audio: "Cached audio",
  cache_read_image: "Cached images",
  cache_read_video: "Cached video",
  output_text: "Output",
  output_reasoning: "Reasoning",
  output_audio: "Audio output",
  output_image: "Image output",
  output_video: "Video output",
  output_citation: "Citations",
  web_searches: "Web searches",
  file_searches: "File searches",
  code_executions: "Code runs",
  containers: "Sandboxes",
  input_characters: "Characters",
  document_pages: "Pages",
  audio_ms: "Audio",
  input_audio_ms: "Audio input",
  images: "Pictures",
  video_ms: "Video",
  request: "Per request",
};

/** Return a name with spaces for one of the program's own. */
export function spoken(name: string): string {
  const words = name.replaceAll("_", " ");
  return words.charAt(0).toUpperCase() + words.slice(1);
}

export const FLAGS: Record<Flag, readonly [level: "warn" | "bad", word: string, why: string]> = {
  truncated: ["warn", "Truncated", "it reached the most tokens that it may have"],
  filtered: ["warn", "Filtered", "the provider held the answer back"],
  refused: ["warn", "Refused", "the model would not answer"],
  empty: ["warn", "Empty answer", "it finished without saying anything"],
  invalid_json: ["bad", "Invalid JSON", "the answer was to be JSON and is none"],
  invalid_arguments: ["bad", "Invalid arguments", "the arguments of a tool call are no JSON"],
  unfinished: ["bad", "Unfinished", "it broke off before its end"],
};

export const ROLES: Record<string, string> = {
  system: "System",
  developer: "Developer",
  user: "User",
  assistant: "Assistant",
  tool: "Tool result",
  error: "Error",
};

export const RETRY: Record<"yes" | "no" | "later", string> = {
  yes: "Trying again may help",
  no: "Trying again does not help",
  later: "Try again later",
};

export const SOURCES: Record<string, string> = {
  provider: "reported by the provider",
  override: "price of your own",
  table: "price table",
  unknown: "unknown",
};

/** A short duration with a digit more: of what a proxy adds, 1.9 ms and 2.4 ms are not the same. */
export function fine(ms: number): string {
  return ms >= 0.95 && ms < 9.95 ? `${ms.toFixed(1)} ms` : duration(ms);
}

/** The budget that a refusal names; null: it names none. */
export function refusingBudget(message: string | null): string | null {
  return /^Budget (.+) \((?:key [^()]+|callers without a key)\) has /.exec(message ?? "")?.[1] ?? null;
}

/** Who said it, for the one who looks. */
export function toldBy(said: Pick<Feedback, "source" | "is_own">): string {
  return said.is_own ? "you" : said.source.replace(/^token:/, "");
}

/** What was said, with what one says now: of each name the last one counts, and one without a value takes it back. */
export function withFeedback(before: readonly Feedback[], said: Feedback): Feedback[] {
  const others = before.filter((each) => !each.is_own || each.name !== said.name);
  return said.value === null ? others : [...others, said];
}
