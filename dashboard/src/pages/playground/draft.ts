/** What the server offers to begin with, and what a new request looks like without an original. */
import type { RequestFacts, Said } from "./run.ts";
import type { Tree } from "./body.ts";

export interface Upstream {
  name: string;
  wire: string;
  base_url: string | null;
  is_default: boolean;
  credential: "key" | "aws" | "none" | "missing";
  /** It understands the original. */
  understands: boolean;
  /** Why nothing can be sent to it; null: it can. */
  hindrance: string | null;
}

export interface Original {
  request: RequestFacts & { endpoint: string };
  problem: string | null;
  endpoint: string;
  dialect: string | null;
  path: string | null;
  is_model_in_path: boolean;
  model: string | null;
  body: string | null;
  body_bytes: number;
  headers: Record<string, string>;
  answer: Said | null;
}

export interface Draft {
  key: string;
  models: string[];
  max_body_bytes: number;
  default_upstream: string;
  original: Original | null;
  upstreams: Upstream[];
}

export interface Forecast {
  model: string | null;
  most_nano_usd: number | null;
  typical_nano_usd: number | null;
  input_tokens: number;
  output_tokens: number | null;
  most_output_tokens: number | null;
  basis: "original" | "model" | "size";
  problem: string | null;
}

export interface Template {
  title: string;
  dialect: string;
  endpoint: string;
  path: string;
  body(model: string): Tree;
}

const HELLO = "Say hello in five languages.";

const TEMPLATES: Readonly<Record<string, Template>> = {
  chat: { title: "Chat completion", dialect: "openai", endpoint: "chat", path: "/chat/completions", body: (model) => ({ model, messages: [{ role: "user", content: HELLO }], stream: true }) },
  responses: { title: "Response", dialect: "openai", endpoint: "responses", path: "/responses", body: (model) => ({ model, input: [{ role: "user", content: HELLO }], stream: true }) },
  messages: { title: "Message", dialect: "anthropic", endpoint: "messages", path: "/v1/messages", body: (model) => ({ model, max_tokens: 1024, messages: [{ role: "user", content: HELLO }], stream: true }) },
  gemini: { title: "Generated content", dialect: "gemini", endpoint: "generate_content", path: "/v1beta/models/gemini-2.5-flash:streamGenerateContent?alt=sse", body: () => ({ contents: [{ role: "user", parts: [{ text: HELLO }] }] }) },
  ollama: { title: "Chat", dialect: "ollama", endpoint: "chat", path: "/api/chat", body: (model) => ({ model, messages: [{ role: "user", content: HELLO }] }) },
};

/** Return the kinds of requests that an upstream takes, by the names of templates. */
export function templatesFor(wire: string): readonly (readonly [name: string, template: Template])[] {
  const names = { anthropic: ["messages"], gemini: ["gemini"], vertex: ["gemini"], ollama: ["ollama", "chat"] }[wire] ?? ["chat", "responses"];
  return names.flatMap((name) => (TEMPLATES[name] ? [[name, TEMPLATES[name]] as const] : []));
}
