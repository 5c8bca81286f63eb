package web

import (
	"maps"
	"regexp"
	"slices"
	"strings"
	"sync"
)

// portuguese says a text of internal/report in Portuguese. One that is made of
// several sentences is put together from theirs. What is not known stays as it is;
// a test holds this table to the texts of that package.
func portuguese(text string) string {
	if to, ok := translated(text); ok {
		return to
	}
	// The longest beginning that is known, and the rest.
	for i := len(text) - 1; i > 0; i-- {
		if text[i] != ' ' || !strings.ContainsRune(".:!?", rune(text[i-1])) {
			continue
		}
		if to, ok := translated(text[:i]); ok {
			return to + " " + portuguese(text[i+1:])
		}
	}
	return text
}

func translated(text string) (string, bool) {
	if to, ok := reportWords[text]; ok {
		return to, true
	}
	for _, p := range reportPatterns() {
		if m := p.from.FindStringSubmatch(text); m != nil {
			out := p.to
			for _, value := range m[1:] {
				out = strings.Replace(out, "%s", value, 1)
			}
			return out, true
		}
	}
	return "", false
}

type reportPattern struct {
	from *regexp.Regexp
	to   string
}

// reportPatterns are the entries of the table that have values in them.
var reportPatterns = sync.OnceValue(func() []reportPattern {
	var list []reportPattern
	for _, from := range slices.Sorted(maps.Keys(reportWords)) { // always in the same order
		if to := reportWords[from]; strings.Contains(from, "%s") {
			expr := "^" + strings.ReplaceAll(regexp.QuoteMeta(from), "%s", "([^\n]+?)") + "$"
			list = append(list, reportPattern{regexp.MustCompile(expr), to})
		}
	}
	return list
})

// reportWords has the texts of internal/report about answers; %s is a value, in the
// same order in both languages.
var reportWords = map[string]string{
	// Marks and headings.
	"right": "certo", "wrong": "errado", "not checked": "não verificado", "careful": "atenção",
	"What was asked and answered":        "O que foi perguntado e respondido",
	"What was checked":                   "O que foi verificado",
	"What was not checked":               "O que não foi verificado",
	"What the receipt says":              "O que o recibo diz",
	"What a receipt does not show":       "O que um recibo não mostra",
	"For experts: the numbers behind it": "Para especialistas: os números por trás",

	// Verdicts.
	"This is another model": "Este é outro modelo",
	"The receipt names a different model than the one given here. If you were told that this one wrote the answer, that is not so. If you took the wrong file, take the right one.": "O recibo nomeia outro modelo que não o dado aqui. Se lhe disseram que este escreveu a resposta, não é verdade. Se pegou o arquivo errado, pegue o certo.",
	"These are other adapters": "Estes são outros adaptadores",
	"The receipt names other adapters than those given here, or other scales. If you were told that the model answered with these, that is not so. If you took the wrong files, take the right ones.": "O recibo nomeia outros adaptadores que não os dados aqui, ou outras escalas. Se lhe disseram que o modelo respondeu com estes, não é verdade. Se pegou os arquivos errados, pegue os certos.",
	"Could not be checked":                          "Não pôde ser verificado",
	"Not a readable receipt":                        "Não é um recibo legível",
	"Not valid":                                     "Não é válido",
	"Nothing that it says can be relied upon.":      "Nada do que ele diz merece confiança.",
	"Nothing was checked":                           "Nada foi verificado",
	"There is no receipt to tell of.":               "Não há recibo de que falar.",
	"Computed again, but not all could be compared": "Calculada de novo, mas nem tudo pôde ser comparado",
	"What was computed again fits. But something that was to be compared is not shown in this file, or could not be looked at: see what was not checked.": "O que foi calculado de novo confere. Mas algo que devia ser comparado não é mostrado neste arquivo, ou não pôde ser visto: veja o que não foi verificado.",
	"Valid, by a sample":               "Válido, por amostra",
	"Valid: computed again, and equal": "Válido: calculado de novo, e igual",
	"This model, with this question and these settings, gives exactly this answer. All %s word pieces were computed again and compared.": "Este modelo, com esta pergunta e estes ajustes, dá exatamente esta resposta. Todos os %s pedaços de palavra foram calculados de novo e comparados.",
	"This model, with this question and these settings, gives exactly this answer. Its only word piece was computed again and compared.": "Este modelo, com esta pergunta e estes ajustes, dá exatamente esta resposta. Seu único pedaço de palavra foi calculado de novo e comparado.",
	"Signed and unchanged, but not computed again": "Assinado e inalterado, mas não calculado de novo",
	"The receipt is signed, and what is shown here fits it. Whether the model really gives this answer was not checked.":                                   "O recibo está assinado, e o que se mostra aqui confere com ele. Se o modelo realmente dá esta resposta não foi verificado.",
	"The receipt is signed. It hides what it would take to compute the answer again, so nobody can tell from this file whether the model really gives it.": "O recibo está assinado. Ele esconde o que seria preciso para calcular a resposta de novo, então ninguém pode dizer por este arquivo se o modelo realmente a dá.",
	"It differs first at word piece %s of %s.": "Difere primeiro no pedaço de palavra %s de %s.",

	// Notes.
	"It was tried: %s": "Foi tentado: %s",
	"For that, the right model’s file is needed.":                                                         "Para isso é preciso o arquivo do modelo certo.",
	"For that, the model’s file is needed.":                                                               "Para isso é preciso o arquivo do modelo.",
	"For that, the receipt’s file must show the question and the answer, and the model’s file is needed.": "Para isso o arquivo do recibo tem de mostrar a pergunta e a resposta, e é preciso o arquivo do modelo.",
	"Whether this was the first try.":                                                                     "Se esta foi a primeira tentativa.",
	"Whether the random numbers come from you.":                                                           "Se os números aleatórios vêm de você.",
	"They were made from a value that the one who asked may choose. If you asked, compare it with yours; it is below, for experts.": "Foram feitos de um valor que quem pergunta pode escolher. Se você perguntou, compare-o com o seu; está abaixo, para especialistas.",
	"Whether the random numbers come from the public source that the receipt names.":                                                "Se os números aleatórios vêm da fonte pública que o recibo nomeia.",
	"Its value for that round was not looked up; it is below, for experts.":                                                         "O valor dela naquela rodada não foi consultado; está abaixo, para especialistas.",
	"Whoever made this answer picked the random numbers too. They could have tried several and kept the answer they liked.":         "Quem fez esta resposta também escolheu os números aleatórios. Pode ter tentado várias vezes e ficado com a resposta de que gostou.",

	// Bounds.
	"That the answer is right. Models err; a receipt only shows that this one said it.":                      "Que a resposta está certa. Modelos erram; um recibo só mostra que este a disse.",
	"Who sat at the device. It shows a key, not a person.":                                                   "Quem estava diante do dispositivo. Ele mostra uma chave, não uma pessoa.",
	"That this device did the work itself. It could have signed an honest answer that another one computed.": "Que este dispositivo fez o trabalho. Ele pode ter assinado uma resposta honesta que outro calculou.",
	"That the device’s clock was right.":                                                                     "Que o relógio do dispositivo estava certo.",

	// Facts.
	"Model": "Modelo", "Signed by": "Assinado por", "Date": "Data", "Length": "Tamanho", "End": "Fim", "Choice of words": "Escolha das palavras",
	"Adapter": "Adaptador", "Random numbers": "Números aleatórios", "Special settings": "Ajustes especiais", "Record": "Registro do cálculo", "Ledger": "Registro",
	"The device with this key. Its owner can say whether the key is theirs.":                    "O dispositivo com esta chave. Quem é dono dele pode dizer se a chave é sua.",
	"%s, by that device’s clock.":                                                               "%s, pelo relógio daquele dispositivo.",
	"1 word piece read, 1 word piece written.":                                                  "1 pedaço de palavra lido, 1 escrito.",
	"1 word piece read, %s word pieces written.":                                                "1 pedaço de palavra lido, %s escritos.",
	"%s word pieces read, 1 word piece written.":                                                "%s pedaços de palavra lidos, 1 escrito.",
	"%s word pieces read, %s word pieces written.":                                              "%s pedaços de palavra lidos, %s escritos.",
	"An adapter changed the model, with scale %s. The fingerprint of its file:":                 "Um adaptador mudou o modelo, com escala %s. A impressão digital do arquivo dele:",
	"It also vouches for every step of the computation, so that a single step can be disputed.": "Ele também responde por cada passo do cálculo, de modo que um só passo pode ser contestado.",
	"The device knew block %s of “%s”.":                                                         "O dispositivo conhecia o bloco %s de “%s”.",
	"The model was done.":                                                                       "O modelo terminou.",
	"At a text that had been set as the end.":                                                   "Num texto definido como o fim.",
	"At the limit of length: the answer may be cut off.":                                        "No limite de tamanho: a resposta pode estar cortada.",
	"The file at hand, which calls itself “%s”. It has the fingerprint that the receipt names:": "O arquivo à mão, que se chama “%s”. Ele tem a impressão digital que o recibo nomeia:",
	"The one with this fingerprint. Whoever publishes a model can say what its fingerprint is.": "O que tem esta impressão digital. Quem publica um modelo pode dizer qual é a dele.",
	"Always the likeliest word piece; chance has no part in it.":                                "Sempre o pedaço de palavra mais provável; o acaso não participa.",
	"By chance, a likelier word piece more often (%s).":                                         "Por acaso, um pedaço mais provável com mais frequência (%s).",
	"From a value that the one who asked may choose, and from the question. Whoever answered could not pick them, unless they asked, too.": "De um valor que quem pergunta pode escolher, e da pergunta. Quem respondeu não podia escolhê-los, a não ser que também tenha perguntado.",
	"From round %s of the public source “%s”, and from the question. Whoever answered could not pick them freely.":                         "Da rodada %s da fonte pública “%s”, e da pergunta. Quem respondeu não podia escolhê-los livremente.",
	"Picked by whoever made the answer.":                                        "Escolhidos por quem fez a resposta.",
	"Words used before were made more or less likely.":                          "Palavras já usadas ficaram mais ou menos prováveis.",
	"The model was made to go on after it was done.":                            "O modelo foi levado a continuar depois de terminar.",
	"Some words were favoured or forbidden.":                                    "Algumas palavras foram favorecidas ou proibidas.",
	"The answer had to follow extra rules, such as a form or words to stop at.": "A resposta tinha de seguir regras extras, como uma forma ou palavras em que parar.",

	// Passages.
	"Hidden. Whoever made the receipt keeps it to themselves. The receipt holds them to one wording all the same, which can be shown later.": "Oculto. Quem fez o recibo guarda isto para si. O recibo o prende mesmo assim a um só texto, que pode ser mostrado depois.",
	"The question and the answer": "A pergunta e a resposta",
	"The question":                "A pergunta", "The answer": "A resposta",
	"It was given as numbers of word pieces; there is no text of it.": "Foi dada como números de pedaços de palavra; não há texto dela.",
	"It is empty.":                                                        "Está vazia.",
	"Careful: this is not what was signed.":                               "Atenção: isto não é o que foi assinado.",
	"The model was also told of 1 tool that it may use.":                  "Também se disse ao modelo que ele pode usar 1 ferramenta.",
	"The model was also told of %s tools that it may use.":                "Também se disse ao modelo que ele pode usar %s ferramentas.",
	"It was also given 1 setting, which may have changed what it read.":   "Ele também recebeu 1 ajuste, que pode ter mudado o que leu.",
	"It was also given %s settings, which may have changed what it read.": "Ele também recebeu %s ajustes, que podem ter mudado o que leu.",
	"Careful: the model’s own form for a conversation was replaced by another one, which decides which of these words the model read, and may have added others.": "Atenção: a forma do próprio modelo para conversas foi trocada por outra, que decide quais destas palavras o modelo leu, e pode ter acrescentado outras.",
	"The person:": "A pessoa:", "The model, earlier:": "O modelo, antes:", "Instructions to the model:": "Instruções ao modelo:", "Result of a tool:": "Resultado de uma ferramenta:",

	// What is found while an answer comes.
	"its token %s is %s (id %s), and the model gives %s (id %s)": "seu token %s é %s (id %s), e o modelo dá %s (id %s)",
	"its token %s, %s (id %s), cannot stand there: %s":           "seu token %s, %s (id %s), não pode estar ali: %s",

	// For experts.
	"Check “%s”": "Verificação “%s”", "Receipt": "Recibo", "Rules": "Regras", "Transcript": "Transcrição", "Trace": "Traço",
	"Parameters": "Parâmetros", "Seed": "Semente", "Time": "Hora", "Sealed": "Lacrado",

	// Checks.
	"The receipt is complete, and written as it must be.":                                                   "O recibo está completo, e escrito como deve ser.",
	"One device’s key signed this receipt, and nothing in it was changed since.":                            "A chave de um dispositivo assinou este recibo, e nada nele mudou desde então.",
	"The question shown here is the one that was signed.":                                                   "A pergunta mostrada aqui é a que foi assinada.",
	"The answer shown here is the one that was signed.":                                                     "A resposta mostrada aqui é a que foi assinada.",
	"It could not be compared with what you expected.":                                                      "Não pôde ser comparado com o que você esperava.",
	"This file is not a receipt, or it is damaged.":                                                         "Este arquivo não é um recibo, ou está danificado.",
	"A part of the file could not be read.":                                                                 "Uma parte do arquivo não pôde ser lida.",
	"The receipt is damaged: it is not written as a receipt must be.":                                       "O recibo está danificado: não está escrito como um recibo deve ser.",
	"The form of the receipt could not be checked.":                                                         "A forma do recibo não pôde ser verificada.",
	"The receipt is signed in a way that receipts do not allow.":                                            "O recibo está assinado de um modo que recibos não permitem.",
	"The kind of signature could not be checked.":                                                           "O tipo de assinatura não pôde ser verificado.",
	"The receipt carries something that does not belong in one.":                                            "O recibo leva algo que não lhe pertence.",
	"The receipt is empty: what was signed is missing.":                                                     "O recibo está vazio: falta o que foi assinado.",
	"What the receipt says is damaged or incomplete.":                                                       "O que o recibo diz está danificado ou incompleto.",
	"What the receipt says could not be read.":                                                              "O que o recibo diz não pôde ser lido.",
	"The receipt follows rules that this program does not know. A newer program may know them.":             "O recibo segue regras que este programa não conhece. Um programa mais novo pode conhecê-las.",
	"The rules that the receipt follows could not be checked.":                                              "As regras que o recibo segue não puderam ser verificadas.",
	"The receipt says something impossible, or contradicts itself.":                                         "O recibo diz algo impossível, ou se contradiz.",
	"Whether the receipt contradicts itself could not be checked.":                                          "Se o recibo se contradiz não pôde ser verificado.",
	"The key that signed it is not a proper one: with such a key, anyone can sign.":                         "A chave que o assinou não é adequada: com uma chave assim, qualquer um pode assinar.",
	"The key could not be checked.":                                                                         "A chave não pôde ser verificada.",
	"The signature does not fit: the receipt was changed after it was signed, or this key never signed it.": "A assinatura não confere: o recibo foi mudado depois de assinado, ou esta chave nunca o assinou.",
	"The signature could not be checked.":                                                                   "A assinatura não pôde ser verificada.",
	"Its date lies neither in the future nor too far back.":                                                 "A data não está no futuro nem longe demais no passado.",
	"Its date lies in the future, or too far back.":                                                         "A data está no futuro, ou longe demais no passado.",
	"Its date was not compared with today’s.":                                                               "A data não foi comparada com a de hoje.",
	"The model’s file at hand is the one that the receipt names.":                                           "O arquivo do modelo à mão é o que o recibo nomeia.",
	"This is another model: the receipt names a different one.":                                             "Este é outro modelo: o recibo nomeia um diferente.",
	"No model’s file was at hand to compare with the one that the receipt names.":                           "Não havia à mão um arquivo de modelo para comparar com o que o recibo nomeia.",
	"The adapters at hand are the ones that the receipt names, with its scales.":                            "Os adaptadores à mão são os que o recibo nomeia, com as escalas dele.",
	"The adapters are not the ones that the receipt names, or have other scales.":                           "Os adaptadores não são os que o recibo nomeia, ou têm outras escalas.",
	"Adapters changed the model, and their files were not at hand.":                                         "Adaptadores mudaram o modelo, e os arquivos deles não estavam à mão.",
	"The key is that of the device you expected.":                                                           "A chave é a do dispositivo que você esperava.",
	"Another device signed it: the key is not the one you expected.":                                        "Outro dispositivo o assinou: a chave não é a que você esperava.",
	"Whose key it is.":                                            "De quem é a chave.",
	"The settings are the ones you asked for.":                    "Os ajustes são os que você pediu.",
	"The settings are not the ones you asked for.":                "Os ajustes não são os que você pediu.",
	"The settings.":                                               "Os ajustes.",
	"The random numbers come from the value you expected.":        "Os números aleatórios vêm do valor que você esperava.",
	"The random numbers do not come from the value you expected.": "Os números aleatórios não vêm do valor que você esperava.",
	"Where the random numbers come from.":                         "De onde vêm os números aleatórios.",
	"What is shown here belongs to this receipt.":                 "O que se mostra aqui pertence a este recibo.",
	"What is shown is not what was signed: the question or the answer was exchanged or changed.":                  "O que se mostra não é o que foi assinado: a pergunta ou a resposta foi trocada ou mudada.",
	"The question and the answer are hidden, so they were not compared with what was signed.":                     "A pergunta e a resposta estão ocultas, então não foram comparadas com o que foi assinado.",
	"The question shown is not the one that was signed.":                                                          "A pergunta mostrada não é a que foi assinada.",
	"The question is hidden. It was not compared with the one that was signed.":                                   "A pergunta está oculta. Não foi comparada com a que foi assinada.",
	"The favoured or forbidden words are the ones that were signed.":                                              "As palavras favorecidas ou proibidas são as que foram assinadas.",
	"The favoured or forbidden words are not the ones that were signed.":                                          "As palavras favorecidas ou proibidas não são as que foram assinadas.",
	"Some words were favoured or forbidden; which ones is hidden.":                                                "Algumas palavras foram favorecidas ou proibidas; quais, está oculto.",
	"The extra rules for the answer are the ones that were signed.":                                               "As regras extras da resposta são as que foram assinadas.",
	"The extra rules for the answer are not the ones that were signed.":                                           "As regras extras da resposta não são as que foram assinadas.",
	"There were extra rules for the answer, such as words to stop at; they are hidden.":                           "Havia regras extras para a resposta, como palavras em que parar; estão ocultas.",
	"The question, as the model read it, is the one that was signed.":                                             "A pergunta, como o modelo a leu, é a que foi assinada.",
	"The question, as the model read it, is not the one that was signed.":                                         "A pergunta, como o modelo a leu, não é a que foi assinada.",
	"How the model read the question, piece by piece, is hidden.":                                                 "Como o modelo leu a pergunta, pedaço por pedaço, está oculto.",
	"The answer, as the model wrote it, is the one that was signed.":                                              "A resposta, como o modelo a escreveu, é a que foi assinada.",
	"The answer, as the model wrote it, is not the one that was signed.":                                          "A resposta, como o modelo a escreveu, não é a que foi assinada.",
	"How the model wrote the answer, piece by piece, is hidden.":                                                  "Como o modelo escreveu a resposta, pedaço por pedaço, está oculto.",
	"The answer shown is not the one that was signed.":                                                            "A resposta mostrada não é a que foi assinada.",
	"The answer is hidden. It was not compared with the one that was signed.":                                     "A resposta está oculta. Não foi comparada com a que foi assinada.",
	"The answer ends as the receipt says.":                                                                        "A resposta termina como o recibo diz.",
	"The answer does not end as the receipt says.":                                                                "A resposta não termina como o recibo diz.",
	"How the answer ended could not be compared.":                                                                 "Como a resposta terminou não pôde ser comparado.",
	"The parts of the question that are shown are the ones that were signed.":                                     "As partes mostradas da pergunta são as que foram assinadas.",
	"A shown part of the question is not the one that was signed.":                                                "Uma parte mostrada da pergunta não é a que foi assinada.",
	"Parts of the question are hidden.":                                                                           "Partes da pergunta estão ocultas.",
	"The parts of the answer that are shown are the ones that were signed.":                                       "As partes mostradas da resposta são as que foram assinadas.",
	"A shown part of the answer is not the one that was signed.":                                                  "Uma parte mostrada da resposta não é a que foi assinada.",
	"Parts of the answer are hidden.":                                                                             "Partes da resposta estão ocultas.",
	"The record of the computation is the one that was signed.":                                                   "O registro do cálculo é o que foi assinado.",
	"The record of the computation is not the one that was signed.":                                               "O registro do cálculo não é o que foi assinado.",
	"The receipt also vouches for a record of every step of the computation. That record was not looked at.":      "O recibo também responde por um registro de cada passo do cálculo. Esse registro não foi visto.",
	"The sealed copy in the file is whole and belongs to this receipt.":                                           "A cópia lacrada no arquivo está inteira e pertence a este recibo.",
	"The sealed copy in the file is damaged, or belongs to another receipt.":                                      "A cópia lacrada no arquivo está danificada, ou pertence a outro recibo.",
	"The file has a sealed copy that only its addressee can open.":                                                "O arquivo tem uma cópia lacrada que só o destinatário pode abrir.",
	"The model was asked exactly the question shown here.":                                                        "Perguntou-se ao modelo exatamente a pergunta mostrada aqui.",
	"The model was asked something else than the question shown here.":                                            "Perguntou-se ao modelo outra coisa que não a pergunta mostrada aqui.",
	"Whether the model was asked exactly the question shown here.":                                                "Se foi perguntada ao modelo exatamente a pergunta mostrada aqui.",
	"The model was opened as the receipt requires.":                                                               "O modelo foi aberto como o recibo exige.",
	"There are more word pieces than the model was set up to take.":                                               "Há mais pedaços de palavra do que o modelo foi preparado para receber.",
	"The model was not opened as the receipt requires.":                                                           "O modelo não foi aberto como o recibo exige.",
	"Put together, the word pieces give this text, and it ends where the receipt says.":                           "Juntos, os pedaços de palavra dão este texto, e ele termina onde o recibo diz.",
	"Put together, the word pieces give another text, or it ends elsewhere.":                                      "Juntos, os pedaços de palavra dão outro texto, ou ele termina em outro lugar.",
	"Whether the word pieces, put together, give this text.":                                                      "Se os pedaços de palavra, juntos, dão este texto.",
	"This model, with this question and these settings, gives exactly this answer: all of it was computed again.": "Este modelo, com esta pergunta e estes ajustes, dá exatamente esta resposta: toda ela foi calculada de novo.",
	"This model does not give this answer.":                                                                       "Este modelo não dá esta resposta.",
	"Whether the model really gives this answer: it was not computed again.":                                      "Se o modelo realmente dá esta resposta: ela não foi calculada de novo.",
	"The check “%s” passed.":                                                                                      "A verificação “%s” passou.", "The check “%s” failed.": "A verificação “%s” falhou.", "The check “%s” was not made.": "A verificação “%s” não foi feita.",
}
