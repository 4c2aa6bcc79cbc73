import{r as e}from"./rolldown-runtime.js";import{g as t,t as n,y as r}from"./vendor-react.js";import{St as i,Z as a,a as o,c as s,ct as c,nn as l,o as u,tn as d,vt as f,wt as p,yt as m}from"./common.js";var h=e(r(),1),g={curl:{title:`curl`,text:e=>`curl ${e}/v1/chat/completions \\
  -H "Authorization: Bearer $OPENAI_API_KEY" \\
  -H "Content-Type: application/json" \\
  -d '{"model": "gpt-5-mini", "messages": [{"role": "user", "content": "Say hello"}]}'`},python:{title:`Python`,text:e=>`from openai import OpenAI

client = OpenAI(base_url="${e}/v1")
answer = client.chat.completions.create(
    model="gpt-5-mini",
    messages=[{"role": "user", "content": "Say hello"}],
)
print(answer.choices[0].message.content)`},js:{title:`JavaScript`,text:e=>`import OpenAI from "openai";

const client = new OpenAI({ baseURL: "${e}/v1" });
const answer = await client.chat.completions.create({
  model: "gpt-5-mini",
  messages: [{ role: "user", content: "Say hello" }],
});
console.log(answer.choices[0].message.content);`},env:{title:`Environment`,text:e=>`export OPENAI_BASE_URL=${e}/v1
export ANTHROPIC_BASE_URL=${e}`}},_=t();function v(){let[e,t]=(0,h.useState)(`curl`),r=d.gateway||`http://localhost:8080`,i=g[e].text(r);return(0,_.jsxs)(`section`,{className:`card overview-first`,"aria-label":`Send the first request`,children:[(0,_.jsxs)(`div`,{className:`row`,children:[(0,_.jsx)(`span`,{children:`Point an application at`}),(0,_.jsxs)(`code`,{className:`base wire`,children:[r,`/v1`]}),(0,_.jsx)(s,{text:`${r}/v1`}),d.auth===`virtual`?(0,_.jsxs)(`span`,{className:`muted`,children:[`with a `,(0,_.jsx)(n,{className:`link`,href:`/keys`,children:`key of Glassline`}),`: no other is let in.`]}):(0,_.jsx)(`span`,{className:`muted`,children:`and keep its key: it is passed on as it is.`})]}),(0,_.jsxs)(`div`,{children:[(0,_.jsx)(u,{label:`Language`,tabs:Object.keys(g).map(e=>({name:e,title:g[e].title})),selected:e,onSelect:t,end:(0,_.jsx)(s,{text:i})}),(0,_.jsx)(o,{name:e,children:(0,_.jsx)(`pre`,{className:`wire`,tabIndex:0,children:i})})]}),(0,_.jsx)(y,{})]})}function y(){let[e,t]=(0,h.useState)(null),r=f(`/api/requests`,{limit:1},{every:2e3}).data?.requests[0],o=async()=>{t(`Sending a request without a key …`);try{let{status:e}=await i(`POST`,`/api/test_request`);t(e===401?`${d.auth===`virtual`?`Glassline`:`The provider`} answered, and asked for a key: the way is open.`:e>=500?`It was recorded, but the provider could not be reached (${e}).`:`Answered with ${e}: the way is open.`)}catch(e){t(e instanceof m?e.message:String(e))}};return(0,_.jsxs)(`div`,{className:`row`,role:`status`,children:[r?(0,_.jsxs)(_.Fragment,{children:[(0,_.jsx)(a,{status:r.status,outcome:r.outcome}),(0,_.jsx)(n,{className:`link wire`,href:p.request(r.id),children:r.model??r.model_requested??r.path}),(0,_.jsx)(`span`,{className:`muted`,children:`The first request is here. The overview follows within 15 seconds.`})]}):(0,_.jsx)(`span`,{className:`pill live`,children:`Waiting for the first request`}),!r&&l(`editor`)&&(0,_.jsx)(c,{onClick:()=>void o(),children:`Send a test request`}),e&&(0,_.jsx)(`span`,{className:`muted`,children:e})]})}export{v as default};