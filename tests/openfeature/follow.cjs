// Holds all flags as a page does, by the OpenFeature SDK for browsers and its OFREP provider: it evaluates all at once, hears by
// server-sent events that something has changed, and asks again with the ETag of what it has.
//
// `node follow.cjs URL CONTEXT FLAG` prints a line of JSON for each answer of the daemon, and for each time that flags changed.
const { EventSource } = require('eventsource');
globalThis.EventSource = EventSource;
const { OpenFeature, ProviderEvents } = require('@openfeature/web-sdk');
const { OFREPWebProvider } = require('@openfeature/ofrep-web-provider');

const [baseUrl, context, flag] = process.argv.slice(2);
const say = (line) => console.log(JSON.stringify(line));

async function main() {
  const fetchImplementation = async (request) => {
    const answer = await fetch(request);
    say({ status: answer.status, asked: request.headers.get('if-none-match'), etag: answer.headers.get('etag') });
    return answer;
  };
  const provider = new OFREPWebProvider({ baseUrl, fetchImplementation, cacheMode: 'disabled' });
  const client = OpenFeature.getClient();
  const show = (changed) => say({ changed, value: client.getStringValue(flag, 'code default') });
  client.addHandler(ProviderEvents.ConfigurationChanged, (details) => show(details.flagsChanged));
  await OpenFeature.setProviderAndWait(provider, JSON.parse(context));
  show([]);
}

main();
