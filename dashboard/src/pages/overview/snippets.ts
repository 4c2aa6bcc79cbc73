/** How an application is pointed at Glassline. */

export type Language = "curl" | "python" | "js" | "env";

export const SNIPPETS: Record<Language, { title: string; text(base: string): string }> = {
  curl: {
    title: "curl",
    text: (base) => `curl ${base}/v1/chat/completions \\
  -H "Authorization: Bearer $OPENAI_API_KEY" \\
  -H "Content-Type: application/json" \\
  -d '{"model": "gpt-5-mini", "messages": [{"role": "user", "content": "Say hello"}]}'`,
  },
  python: {
    title: "Python",
    text: (base) => `from openai import OpenAI

client = OpenAI(base_url="${base}/v1")
answer = client.chat.completions.create(
    model="gpt-5-mini",
    messages=[{"role": "user", "content": "Say hello"}],
)
print(answer.choices[0].message.content)`,
  },
  js: {
    title: "JavaScript",
    text: (base) => `import OpenAI from "openai";

const client = new OpenAI({ baseURL: "${base}/v1" });
const answer = await client.chat.completions.create({
  model: "gpt-5-mini",
  messages: [{ role: "user", content: "Say hello" }],
});
console.log(answer.choices[0].message.content);`,
  },
  env: {
    title: "Environment",
    text: (base) => `export OPENAI_BASE_URL=${base}/v1
export ANTHROPIC_BASE_URL=${base}`,
  },
};
