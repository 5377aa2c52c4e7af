// Asio with C++20 coroutines: the echo server of its examples.  Back-end and thread as in asio_callbacks.cpp.
#include "peer.h"

#include <asio.hpp>
#include <memory>

using asio::awaitable;
using asio::use_awaitable;
using asio::ip::tcp;

static unsigned buffer;

static awaitable<void> echo(tcp::socket socket)
{
    try {
        auto buf = std::make_unique_for_overwrite<char[]>(buffer);
        for (;;) {
            size_t got =
                co_await socket.async_read_some(asio::buffer(buf.get(), buffer), use_awaitable);
            peer_work(buf.get());
            co_await asio::async_write(socket, asio::buffer(buf.get(), got), use_awaitable);
        }
    } catch (const std::system_error &) { // the end of the stream, too
    }
}

static awaitable<void> serve(tcp::acceptor &acceptor)
{
    for (;;) {
        tcp::socket socket = co_await acceptor.async_accept(use_awaitable);
        socket.set_option(tcp::no_delay(true));
        asio::co_spawn(acceptor.get_executor(), echo(std::move(socket)), asio::detached);
    }
}

int main(int argc, char **argv)
{
    peer_begin();
    buffer = peer_buffer(argc, argv);
    asio::io_context context(ASIO_CONCURRENCY_HINT_UNSAFE);
    tcp::acceptor    acceptor(context, tcp::endpoint(asio::ip::address_v4::loopback(), 0));
    asio::co_spawn(context, serve(acceptor), asio::detached);
    peer_ready(acceptor.local_endpoint().port());
    context.run();
}
