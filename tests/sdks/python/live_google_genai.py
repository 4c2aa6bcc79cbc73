"""Gemini Live with google-genai: one session of two turns, the answers printed as JSON."""

from __future__ import annotations

import asyncio
import json
import os

from google import genai
from google.genai import types

MODEL = "gemini-live-2.5-flash-preview"


async def main() -> None:
    """Talk."""
    client = genai.Client(api_key="gk-live-0123456789abcdef", http_options={"base_url": os.environ["BASE_URL"]})
    said: list[dict[str, object]] = []
    async with client.aio.live.connect(model=MODEL, config={"response_modalities": ["TEXT"]}) as session:
        for text in ("hello", "and again"):
            turn = types.Content(role="user", parts=[types.Part(text=text)])
            await session.send_client_content(turns=turn, turn_complete=True)
            answer, usage = "", None
            async for message in session.receive():
                answer += message.text or ""
                usage = message.usage_metadata or usage
            counts = usage.model_dump(exclude_none=True, mode="json") if usage else None
            said.append({"text": answer, "usage": counts})
    print(json.dumps(said))


asyncio.run(main())
