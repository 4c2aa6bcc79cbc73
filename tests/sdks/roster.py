"""The SDKs and tools, each with the base URL that it wants and the way it behaves."""

from __future__ import annotations

from tests.sdks.contract import Contract

CORE = (
    Contract("openai (Python)", "uses_openai.py", "openai", "/v1", "/v1", "RateLimitError"),
    Contract("openai (Python) for Azure", "uses_openai_azure.py", "openai", "", "/azure", "RateLimitError"),
    Contract("openai (Node)", "uses-openai.mjs", "openai", "/v1", "/t/suite:sdks/v1", "RateLimitError", "node"),
    Contract("anthropic (Python)", "uses_anthropic.py", "anthropic", "", "", "EnforcedSpendLimitReachedError"),
    Contract(
        "anthropic (Node)",
        "uses-anthropic.mjs",
        "anthropic",
        "",
        "/t/suite:sdks/anthropic",
        "RateLimitError",
        "node",
    ),
    Contract("google-genai (Python)", "uses_google_genai.py", "gemini", "", "", "ClientError", attempts=1),
    Contract("google-genai (Node)", "uses-google-genai.mjs", "gemini", "", "/gemini", "ApiError", "node", attempts=1),
    Contract("groq (Python)", "uses_groq.py", "groq", "/quirks/groq", "/groq", "RateLimitError"),
    Contract("groq (Node)", "uses-groq.mjs", "groq", "/quirks/groq", "/groq", "RateLimitError", "node"),
    Contract("mistralai (Python)", "uses_mistral.py", "mistral", "/quirks/mistral", "/mistral", "SDKError", attempts=1),
    Contract(
        "mistralai (Node)", "uses-mistral.mjs", "mistral", "/quirks/mistral", "/mistral", "SDKError", "node", attempts=1
    ),
    Contract("ollama (Python)", "uses_ollama.py", "ollama", "", "", "ResponseError", attempts=1),
    Contract("ollama (Node)", "uses-ollama.mjs", "ollama", "", "/ollama", "ResponseError", "node", attempts=1),
    Contract(
        "Vercel AI SDK, OpenAI",
        "uses-vercel-openai.mjs",
        "openai",
        "/v1",
        "/v1",
        "RetryError",
        "node",
        refusal_attempts=3,
    ),
    Contract(
        "Vercel AI SDK, Anthropic",
        "uses-vercel-anthropic.mjs",
        "anthropic",
        "/v1",
        "/v1",
        "RetryError",
        "node",
        refusal_attempts=3,
    ),
    Contract(
        "Vercel AI SDK, Google",
        "uses-vercel-google.mjs",
        "gemini",
        "/v1beta",
        "/v1beta",
        "RetryError",
        "node",
        refusal_attempts=3,
    ),
)
"""The official SDKs: light enough for `make test`."""

FRAMEWORKS = (
    Contract("LangChain, OpenAI", "uses_langchain_openai.py", "openai", "/v1", "/v1", "RateLimitError", "langchain"),
    Contract("LangChain, Anthropic", "uses_langchain_anthropic.py", "anthropic", "", "", "RateLimitError", "langchain"),
    Contract(
        "LangChain, Google",
        "uses_langchain_google.py",
        "gemini",
        "",
        "",
        "ChatGoogleGenerativeAIError",
        "langchain",
        attempts=1,
    ),
    Contract(
        "LlamaIndex",
        "uses_llamaindex.py",
        "openai",
        "/v1",
        "/v1",
        "RateLimitError",
        "llamaindex",
        attempts=6,  # it tries twice what the SDK below tries three times
        refusal_attempts=2,
    ),
    Contract("LiteLLM SDK", "uses_litellm.py", "openai", "/v1", "/v1", "RateLimitError", "litellm"),
    Contract("Pydantic AI", "uses_pydantic_ai.py", "openai", "/v1", "/v1", "ModelHTTPError", "agents"),
    Contract("OpenAI Agents SDK", "uses_openai_agents.py", "openai", "/v1", "/v1", "RateLimitError", "agents"),
    Contract("Instructor", "uses_instructor.py", "openai", "/v1", "/v1", "InstructorRetryException", "instructor"),
    Contract(
        "together (Python)", "uses_together.py", "together", "/quirks/together", "/together", "RateLimitError", "more"
    ),
    Contract(
        "openrouter (Python)",
        "uses_openrouter.py",
        "openrouter",
        "/quirks/openrouter/api/v1",
        "/openrouter",
        "ResponseValidationError",  # its errors have a number for a code, and OpenAI's a name
        "more",
        attempts=1,
        refusal_says="project_spend_limit_exceeded",
    ),
    Contract("boto3 for Bedrock", "uses_boto3.py", "bedrock", "", "", "ServiceQuotaExceededException", "more"),
    Contract(
        "aider",
        "tool_aider.py",
        "openai",
        "/v1",
        "/v1",
        "ToolFailed",
        "aider",
        refusal_attempts=10,  # it tries on for a minute, whatever the answer says
        refused=("chat",),
    ),
    Contract("llm", "tool_llm.py", "openai", "/v1", "/v1", "ToolFailed", "llm"),
    Contract(
        "Codex",
        "tool_codex.py",
        "codex",
        "/v1",
        "/v1",
        "ToolFailed",
        "cli",
        leaves_early=True,
        is_random=True,
        refusal_says="quota exceeded",  # it has words of its own
    ),
    Contract(
        "Claude Code",
        "tool_claude.py",
        "claude",
        "",
        "",
        "ToolFailed",
        "cli",
        is_random=True,
        error_attempts=4,  # it asks again with fewer of its wishes
    ),
)
"""What is built on top of them: heavy, so only for `make sdks`."""
