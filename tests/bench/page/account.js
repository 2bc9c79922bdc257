/** The account of every telephone here. Nothing of it exists. */
export const account = {
  server: 'wss://pbx.example.com:7443/ws',
  uri: 'sip:2001@pbx.example.com',
  user: '2001',
  password: 'not-a-secret',
  lamp: 'sip:2002@pbx.example.com',
};
