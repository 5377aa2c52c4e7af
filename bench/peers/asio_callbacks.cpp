// Asio with callbacks: the echo server of its tutorial.  A session is kept alive by the handlers that refer to
// it.  One thread, and said so (the hint takes the locks away).  Which back-end: ASIO_HAS_IO_URING with
// ASIO_DISABLE_EPOLL, at compile time.
#include "peer.h"

#include <asio.hpp>
#include <memory>

using asio::ip::tcp;

static unsigned buffer;

class session : public std::enable_shared_from_this<session>
{
  public:
    explicit session(tcp::socket socket)
        : socket_(std::move(socket)), buf_(std::make_unique_for_overwrite<char[]>(buffer))
    {
    }

    void start() { read(); }

  private:
    void read()
    {
        auto self = shared_from_this();
        socket_.async_read_some(asio::buffer(buf_.get(), buffer),
                                [this, self = std::move(self)](std::error_code error, size_t got) {
                                    if (error) return;
                                    peer_work(buf_.get());
                                    write(got);
                                });
    }

    void write(size_t len)
    {
        auto self = shared_from_this();
        asio::async_write(socket_, asio::buffer(buf_.get(), len),
                          [this, self = std::move(self)](std::error_code error, size_t) {
                              if (!error) read();
                          });
    }

    tcp::socket             socket_;
    std::unique_ptr<char[]> buf_;
};

class server
{
  public:
    explicit server(asio::io_context &context)
        : acceptor_(context, tcp::endpoint(asio::ip::address_v4::loopback(), 0))
    {
        accept();
    }

    unsigned port() { return acceptor_.local_endpoint().port(); }

  private:
    void accept()
    {
        acceptor_.async_accept([this](std::error_code error, tcp::socket socket) {
            if (!error) {
                socket.set_option(tcp::no_delay(true));
                std::make_shared<session>(std::move(socket))->start();
            }
            accept();
        });
    }

    tcp::acceptor acceptor_;
};

int main(int argc, char **argv)
{
    peer_begin();
    buffer = peer_buffer(argc, argv);
    asio::io_context context(ASIO_CONCURRENCY_HINT_UNSAFE);
    server           echo(context);
    peer_ready(echo.port());
    context.run();
}
