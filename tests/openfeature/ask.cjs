// Asks flags as an application does, by the OpenFeature SDK for servers and its OFREP provider. See ask.py.
const { OpenFeature } = require('@openfeature/server-sdk');
const { OFREPProvider } = require('@openfeature/ofrep-provider');

const verbs = {
  boolean: 'getBooleanDetails',
  string: 'getStringDetails',
  integer: 'getNumberDetails',
  float: 'getNumberDetails',
  object: 'getObjectDetails',
};

async function main(baseUrl, questions) {
  await OpenFeature.setProviderAndWait(new OFREPProvider({ baseUrl }));
  const client = OpenFeature.getClient();
  const answers = [];
  for (const { type, key, default: otherwise, context } of questions) {
    const details = await client[verbs[type]](key, otherwise, context);
    answers.push({
      value: details.value,
      reason: details.reason,
      variant: details.variant ?? null,
      metadata: details.flagMetadata,
      error: details.errorCode ?? null,
    });
  }
  console.log(JSON.stringify(answers));
}

const [baseUrl, questions] = process.argv.slice(2);
main(baseUrl, JSON.parse(questions));
