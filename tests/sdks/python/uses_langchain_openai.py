"""LangChain with langchain-openai, as most applications use it."""

import contract
from langchain_openai import ChatOpenAI, OpenAIEmbeddings
from uses_langchain import scenarios


def chat_model(call, **options):
    return ChatOpenAI(model=call.model, base_url=call.base_url, api_key=call.api_key, **options)


def embeddings(call):
    sdk = OpenAIEmbeddings(
        model="text-embedding-3-small",
        base_url=call.base_url,
        api_key=call.api_key,
        check_embedding_ctx_length=False,
    )
    return sdk.embed_documents(["one", "two"])


def responses_stream(call):
    model = chat_model(call, use_responses_api=True)
    return ["".join(str(piece.text) for piece in model.stream(contract.QUESTION))]


def environment(call):
    with contract.variables(OPENAI_BASE_URL=call.base_url, OPENAI_API_KEY=call.api_key):
        sdk = ChatOpenAI(model=call.model)
    return sdk.invoke(contract.QUESTION).content


contract.serve(
    "langchain-openai",
    {
        **scenarios(chat_model),
        "embeddings": embeddings,
        "environment": environment,
        "responses_stream": responses_stream,
    },
)
