/// What `switchyard new plugin` writes.
enum PluginTemplate {
    static func plugin(_ name: String) -> String {
        """
        -- \(name): greets the backend and the client.
        --
        --   location / {
        --       plugin \(name).lua greeting=hello;
        --       proxy_pass http://backend;
        --   }

        return function(config)
          local greeting = config.greeting or "hello"

          return {
            -- Before an upstream is chosen; `return flow:respond{ status = 403 }` would answer at once.
            request = function(flow)
              flow.req.headers["X-Greeting"] = greeting
            end,

            -- The upstream's response, before it is sent on.
            response = function(flow)
              flow.res.headers["X-Greeting"] = greeting
            end,
          }
        end

        """
    }

    static func test(_ name: String) -> String {
        """
        -- Run by `switchyard test \(name)_test.lua`.

        test("greets the backend and the client", function()
          local p = proxy{ plugin = "\(name).lua", args = { greeting = "hi" } }
          p:backend(function(request)
            return { body = "heard " .. request.headers["X-Greeting"] }
          end)

          local res = p:request{ path = "/" }

          expect(res.status):equals(200)
          expect(res.headers["X-Greeting"]):equals("hi")
          expect(res.body):equals("heard hi")
        end)

        test("says hello unless told otherwise", function()
          local p = proxy{ plugin = "\(name).lua" }
          expect(p:request().headers["X-Greeting"]):equals("hello")
        end)

        """
    }
}
