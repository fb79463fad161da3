/// The page at `/`: a chat, the round trip of a WebSocket message, and buttons for the other routes.
///
/// Its links are relative, so that it works under any path that a proxy gives it.
enum DemoPage {
    static let html = #"""
        <!doctype html>
        <html lang="en">
        <meta charset="utf-8">
        <meta name="viewport" content="width=device-width, initial-scale=1">
        <title>Switchyard demo</title>
        <link rel="icon" href="data:,">
        <style>
          :root { color-scheme: light dark; --line: #8884; --accent: #2a7d6f }
          * { box-sizing: border-box }
          body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 0 auto; padding: 1.5rem }
          header { display: flex; flex-wrap: wrap; gap: .5rem 1.5rem; align-items: baseline }
          h1 { font-size: 1.5rem; margin: 0 }
          h2 { font-size: 1rem; margin: 0 0 .75rem }
          main { display: grid; gap: 1rem; grid-template-columns: repeat(auto-fit, minmax(20rem, 1fr)) }
          section { border: 1px solid var(--line); border-radius: .6rem; padding: 1rem; min-width: 0 }
          section.wide { grid-column: 1 / -1 }
          .state::before { content: "●"; margin-right: .4em; color: #b33 }
          .state.open::before { color: var(--accent) }
          #log { height: 14rem; overflow-y: auto; border: 1px solid var(--line); border-radius: .4rem;
                 padding: .5rem; margin-bottom: .5rem; overflow-wrap: anywhere }
          #log .note { opacity: .6; font-style: italic }
          form { display: flex; gap: .5rem }
          input, button { font: inherit; padding: .3rem .7rem; border: 1px solid var(--line);
                          border-radius: .4rem }
          input { flex: 1; min-width: 0 }
          button { cursor: pointer }
          button:hover { border-color: var(--accent) }
          .buttons { display: flex; flex-wrap: wrap; gap: .5rem; margin-bottom: .75rem }
          pre { white-space: pre-wrap; overflow-wrap: anywhere; max-height: 16rem; overflow-y: auto; margin: 0 }
          dl { display: grid; grid-template-columns: auto 1fr; gap: .2rem 1rem; margin: 0 }
          dd { margin: 0; font-variant-numeric: tabular-nums }
        </style>
        <header>
          <h1>Switchyard demo</h1>
          <span id="chat-state" class="state">chat</span>
          <span id="echo-state" class="state">echo</span>
        </header>
        <p>Everything here went through the proxy that you opened this page at. Open it twice to chat.</p>
        <main>
          <section>
            <h2>Chat, <span id="people">not connected</span></h2>
            <div id="log" role="log"></div>
            <form id="chat"><input id="text" autocomplete="off" placeholder="Say something" aria-label="Message">
              <button>Send</button></form>
          </section>
          <section>
            <h2>Echo over one WebSocket</h2>
            <dl>
              <dt>Round trip</dt><dd id="rtt">–</dd>
              <dt>Fastest of the last 20</dt><dd id="best">–</dd>
              <dt>Open for</dt><dd id="age">–</dd>
              <dt>Last test</dt><dd id="result">–</dd>
            </dl>
            <p class="buttons">
              <button data-echo="text">Text</button>
              <button data-echo="small">128 bytes</button>
              <button data-echo="large">1 MB</button>
              <button data-echo="burst">500 at once</button>
              <button data-echo="close">Close with 4000</button>
            </p>
          </section>
          <section class="wide">
            <h2>Requests</h2>
            <p class="buttons">
              <button data-get="hello">hello</button>
              <button data-get="headers">headers</button>
              <button data-get="status/418">status/418</button>
              <button data-get="status/503">status/503</button>
              <button data-get="slow?ms=1500">slow?ms=1500</button>
              <button data-get="bytes?n=5000000">bytes?n=5000000</button>
              <button data-post="echo">POST echo</button>
            </p>
            <pre id="answer">The answers appear here.</pre>
          </section>
        </main>
        <script>
          const id = (name) => document.getElementById(name);
          const base = new URL('.', location.href);
          const socketURL = (path) => new URL(path, base).href.replace(/^http/, 'ws');
          const name = 'guest-' + Math.random().toString(36).slice(2, 6);

          // A socket that comes back by itself, later each time.
          function reconnecting(path, label, handlers) {
            const socket = { current: null, openedAt: 0 };
            let delay = 500;
            (function open() {
              const ws = socket.current = new WebSocket(socketURL(path));
              ws.binaryType = 'arraybuffer';
              ws.onopen = () => {
                delay = 500;
                socket.openedAt = performance.now();
                label.classList.add('open');
                handlers.open?.();
              };
              ws.onmessage = (event) => handlers.message(event.data);
              ws.onclose = (event) => {
                label.classList.remove('open');
                handlers.close?.(event);
                setTimeout(open, delay);
                delay = Math.min(delay * 2, 10000);
              };
            })();
            return socket;
          }

          // Chat: JSON with a name and a text, or the number of people from the server.
          function log(text, kind) {
            const line = document.createElement('div');
            line.textContent = text;
            line.className = kind ?? '';
            id('log').append(line);
            id('log').scrollTop = id('log').scrollHeight;
          }
          const chat = reconnecting('chat', id('chat-state'), {
            open: () => log(`You are ${name}.`, 'note'),
            close: (event) => log(`Connection closed (${event.code}).`, 'note'),
            message: (data) => {
              let value;
              try { value = JSON.parse(data); } catch { return log(String(data)); }
              if (value?.people) id('people').textContent = value.people === 1 ? 'you alone' : `${value.people} people`;
              else log(`${value?.name}: ${value?.text}`);
            },
          });
          id('chat').onsubmit = (event) => {
            event.preventDefault();
            const text = id('text').value.trim();
            if (!text || chat.current.readyState !== WebSocket.OPEN) return;
            chat.current.send(JSON.stringify({ name, text }));
            id('text').value = '';
          };

          // Echo: what comes back is handed out in the order in which it was sent.
          let waiting = [];
          const trips = [];
          const echo = reconnecting('ws/echo', id('echo-state'), {
            message: (data) => waiting.shift()?.resolve(data),
            close: (event) => {
              for (const one of waiting) one.reject(new Error(`closed (${event.code})`));
              waiting = [];
            },
          });
          function roundTrip(data) {
            if (echo.current.readyState !== WebSocket.OPEN) return Promise.reject(new Error('not open'));
            echo.current.send(data);
            return new Promise((resolve, reject) => waiting.push({ resolve, reject }));
          }
          setInterval(async () => {
            if (echo.current.readyState !== WebSocket.OPEN) return id('age').textContent = '–';
            id('age').textContent = Math.round((performance.now() - echo.openedAt) / 1000) + ' s';
            const started = performance.now();
            try { await roundTrip('ping'); } catch { return; }
            trips.push(performance.now() - started);
            if (trips.length > 20) trips.shift();
            id('rtt').textContent = trips.at(-1).toFixed(2) + ' ms';
            id('best').textContent = Math.min(...trips).toFixed(2) + ' ms';
          }, 1000);

          async function binary(count) {
            const sent = Uint8Array.from({ length: count }, (_, index) => index * 31 & 255);
            const back = new Uint8Array(await roundTrip(sent));
            return back.length === sent.length && back.every((byte, index) => byte === sent[index]);
          }
          const tests = {
            async text() { return await roundTrip('Grüße, 世界 👋') === 'Grüße, 世界 👋'; },
            small: () => binary(128),
            large: () => binary(1 << 20),
            async burst() {
              const sent = Array.from({ length: 500 }, (_, index) => 'message ' + index);
              const back = await Promise.all(sent.map(roundTrip));
              return back.every((text, index) => text === sent[index]);
            },
            async close() { echo.current.close(4000, 'as asked'); return true; },
          };
          for (const button of document.querySelectorAll('[data-echo]')) {
            button.onclick = async () => {
              const started = performance.now();
              let outcome;
              try { outcome = await tests[button.dataset.echo]() ? 'as sent' : 'CHANGED'; }
              catch (error) { outcome = error.message; }
              const time = (performance.now() - started).toFixed(1);
              id('result').textContent = `${button.textContent}: ${outcome}, ${time} ms`;
            };
          }

          // Requests.
          async function request(path, options) {
            const started = performance.now();
            id('answer').textContent = '…';
            try {
              const response = await fetch(new URL(path, base), options);
              const body = await response.text();
              const time = (performance.now() - started).toFixed(1);
              const shown = body.length > 2000 ? body.slice(0, 2000) + `… (${body.length} bytes)` : body;
              id('answer').textContent = `${response.status} ${response.statusText}, ${time} ms\n\n${shown}`;
            } catch (error) { id('answer').textContent = String(error); }
          }
          for (const button of document.querySelectorAll('[data-get]'))
            button.onclick = () => request(button.dataset.get);
          for (const button of document.querySelectorAll('[data-post]'))
            button.onclick = () => request(button.dataset.post, { method: 'POST', body: 'This comes back.\n' });
        </script>
        </html>

        """#
}
