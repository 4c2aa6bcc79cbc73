"""LangChain with langchain-google-genai."""

import contract
from langchain_google_genai import ChatGoogleGenerativeAI
from uses_langchain import scenarios


def chat_model(call):
    return ChatGoogleGenerativeAI(model=call.model, base_url=call.base_url, google_api_key=call.api_key, max_retries=1)


contract.serve("langchain-google-genai", scenarios(chat_model))
