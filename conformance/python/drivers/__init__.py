"""The clients under test, each behind the same few methods.

A driver has ``name``, ``dialect`` (``native``, ``openai`` or ``anthropic``), ``cannot`` (what its
protocol has no word for; left out where it has all), ``chat``, ``stream`` and ``abandon``,
which leaves a stream after its first piece; asynchronous ones have ``give_up``, too, which does not
wait for an answer longer than so many seconds. ``embed`` and ``rerank`` are there unless ``cannot``
names them; ``codeless`` are statuses of failures whose code the client does not tell; ``splits_texts`` says that the client itself asks for many vectors in several requests.
Options are those of the service, spelled as in its documentation; a driver says them the way its
client wants. Failures come out as ``CallFailed`` with the client's own exception type.
"""

from importlib import metadata


def installed():
    """Drivers of the clients in this environment, ready to be made for a place."""
    drivers = []
    # Packages that are built on the clients below; those have environments of their own.
    if version("langchain-core"):
        from drivers import langchain_client

        return langchain_client.DRIVERS
    if version("litellm"):
        from drivers import litellm_client

        return litellm_client.DRIVERS
    if version("dashscope"):
        from drivers import dashscope_modules

        drivers += dashscope_modules.DRIVERS
        if version("dashscope") >= (2,):
            from drivers import dashscope_client

            drivers += dashscope_client.DRIVERS
    if version("openai"):
        from drivers import openai_client

        drivers += openai_client.DRIVERS
    if version("anthropic"):
        from drivers import anthropic_client

        drivers += anthropic_client.DRIVERS
    assert drivers, "no client under test is installed in this environment"
    return drivers


def version(package):
    """The installed version as numbers, or an empty tuple."""
    try:
        return tuple(int(part) for part in metadata.version(package).split(".")[:3])
    except metadata.PackageNotFoundError:
        return ()
