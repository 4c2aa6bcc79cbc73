"""LangChain with langchain-anthropic."""

import contract
from langchain_anthropic import ChatAnthropic
from uses_langchain import scenarios


def chat_model(call):
    return ChatAnthropic(model=call.model, base_url=call.base_url, api_key=call.api_key, max_tokens=500)


def environment(call):
    with contract.variables(ANTHROPIC_BASE_URL=call.base_url, ANTHROPIC_API_KEY=call.api_key):
        sdk = ChatAnthropic(model=call.model, max_tokens=500)
    return sdk.invoke(contract.QUESTION).content


contract.serve("langchain-anthropic", {**scenarios(chat_model), "environment": environment})
