// bearer_stress.c in short, as C++ sees the library: RAII, exceptions, threads.
//
//   bearer_cpp SOCKET CREDENTIAL

#include <bearer.h>

#include <atomic>
#include <cstring>
#include <ctime>
#include <iostream>
#include <memory>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

struct Release {
        void operator()(bearer *p) const { bearer_free(p); }
        void operator()(bearer_token *p) const { bearer_token_unref(p); }
        void operator()(bearer_request *p) const { bearer_request_free(p); }
};
template <typename T> using Owned = std::unique_ptr<T, Release>;

static Owned<bearer_token> get(bearer *client, const char *credential, const bearer_request *request) {
        bearer_token *token;

        if (bearer_get(client, credential, request, &token) < 0)
                throw std::runtime_error(bearer_error_text());
        return Owned<bearer_token>(token);
}

int main(int argc, char **argv) {
        std::atomic<bool> stop{ false };
        std::atomic<long> tokens{ 0 }, changes{ 0 }, failures{ 0 };
        std::vector<std::thread> threads;
        bearer *made;

        if (argc != 3 || bearer_new(&made, argv[1]) < 0)
                return 2;
        Owned<bearer> client(made);
        for (int i = 0; i < 4; i++)
                threads.emplace_back([&, i] {
                        bearer_request *request;
                        std::string last;
                        if (bearer_request_new(&request) < 0 ||
                            bearer_request_set_subject(request, ("user " + std::to_string(i % 2)).c_str()) < 0)
                                std::abort();
                        Owned<bearer_request> owned(request);
                        while (!stop) {
                                try {
                                        auto token = get(client.get(), argv[2], request);
                                        if (bearer_token_expires_at(token.get()) < std::time(nullptr))
                                                throw std::runtime_error("a stale token");
                                        if (last != bearer_token_fingerprint(token.get()) &&
                                            ++changes % 5 == 0)
                                                bearer_reject(client.get(), token.get());
                                        last = bearer_token_fingerprint(token.get());
                                        if (++tokens % 64 == 0)
                                                std::this_thread::sleep_for(std::chrono::milliseconds(1));
                                } catch (const std::exception &e) {
                                        std::cerr << e.what() << '\n';
                                        failures++;
                                }
                        }
                });
        std::cin.ignore(1000);
        stop = true;
        for (auto &thread : threads)
                thread.join();
        std::cout << tokens << " tokens\n";
        return failures ? 1 : 0;
}
